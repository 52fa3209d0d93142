#include "supervisor/trigger_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/trigger_file.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uintmax_t kFileBytesMax = kTriggerSourceBytesMax;

/// True when registering `wanted` would change nothing that a user can see.
bool same_registration(const TriggerSpec& wanted, TriggerSpec registered) {
  registered.slot = wanted.slot;
  registered.id = wanted.id;
  registered.registered_wall_ms = wanted.registered_wall_ms;
  registered.since_generation = wanted.since_generation;
  registered.paused = wanted.paused;
  return wanted == registered;
}

}  // namespace

FolderReport load_trigger_folder(const std::string& folder, TriggerAdmin& triggers) {
  FolderReport report;
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator{folder, error}) {
    if (entry.path().extension() == ".lua" && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    const auto fail = [&](const std::string& why) { report.errors.push_back(why); };
    if (std::filesystem::file_size(file, error) > kFileBytesMax || error) {
      fail(file.string() + ": cannot be read, or is larger than a trigger may be");
      continue;
    }
    std::ifstream in{file, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    auto spec = parse_trigger_file(text, file.string());
    if (!spec) {
      fail(spec.failure().text);
      continue;
    }
    const auto registered = triggers.find_trigger(spec->name);
    if (registered && same_registration(*spec, *registered)) continue;
    if (auto done = triggers.register_triggers({*spec}); !done) {
      fail(file.string() + ": " + done.failure().text);
      continue;
    }
    ++report.registered;
  }
  return report;
}

}  // namespace cachee::daemon
