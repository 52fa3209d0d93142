#include "supervisor/trigger_folder.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "config/trigger_file.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uintmax_t kFileBytesMax = kTriggerSourceBytesMax;

/// What the folder wants, with what the registry and the people at the socket have made of it since.
TriggerSpec as_registered(TriggerSpec wanted, const TriggerSpec& registered) {
  wanted.slot = registered.slot;
  wanted.id = registered.id;
  wanted.registered_wall_ms = registered.registered_wall_ms;
  wanted.since_generation = registered.since_generation;
  wanted.past = registered.past;
  wanted.enabled = registered.enabled;
  wanted.paused = registered.paused;
  return wanted;
}

/// A trigger file as it is read; the failure names the file, and the line when there is one.
Outcome<TriggerSpec> read_trigger_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::file_size(file, error) > kFileBytesMax || error) {
    return Failure{Errc::io, file.string() + ": cannot be read, or is larger than a trigger may be"};
  }
  std::ifstream in{file, std::ios::binary};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto spec = parse_trigger_file(text, file.string());
  if (spec) spec->from_file = true;
  return spec;
}

/// Removes what came from files that are gone: of triggers that no file names.
void remove_orphans(const std::map<std::string, std::filesystem::path>& named, TriggerAdmin& triggers, FolderReport& report) {
  for (const TriggerSpec& spec : triggers.list_triggers()) {
    if (!spec.from_file || named.contains(spec.name)) continue;
    if (auto done = triggers.remove_trigger(spec.name); !done) {
      report.errors.push_back("trigger " + spec.name + ", whose file is gone: " + done.failure().text);
      continue;
    }
    report.removed.push_back(spec.name);
  }
}

}  // namespace

FolderReport load_trigger_folder(const std::string& folder, TriggerAdmin& triggers) {
  FolderReport report;
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator at{folder, error}, end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->path().extension() == ".lua" && at->is_regular_file(ignored)) files.push_back(at->path());
  }
  // What cannot be seen or read is not gone.
  bool all_known = !error;
  std::sort(files.begin(), files.end());
  std::map<std::string, std::filesystem::path> named;
  for (const auto& file : files) {
    auto spec = read_trigger_file(file);
    if (!spec) {
      report.errors.push_back(spec.failure().text);
      all_known = false;
      continue;
    }
    if (const auto [at, first] = named.emplace(spec->name, file); !first) {
      report.errors.push_back(file.string() + ": " + spec->name + " already in " + at->second.filename().string());
      continue;
    }
    if (const auto registered = triggers.find_trigger(spec->name)) {
      const TriggerSpec wanted = as_registered(*std::move(spec), *registered);
      if (wanted == *registered) continue;
      spec = wanted;
    }
    if (auto done = triggers.register_triggers({*spec}); !done) {
      report.errors.push_back(file.string() + ": " + done.failure().text);
      continue;
    }
    ++report.registered;
  }
  if (all_known) remove_orphans(named, triggers, report);
  return report;
}

}  // namespace cachee::daemon
