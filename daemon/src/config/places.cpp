// Where things are, and what runs while cacheed does.
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "config/config.hpp"
#include "config/table.hpp"

namespace cachee::daemon {

namespace {
constexpr std::size_t kPasswordBytesMax = 1024;

std::string hindrance(const Setting& setting) {
  if (setting.changeable) return {};
  if (setting.of_segment) {
    return "is fixed for the life of the segment: make it anew with --fresh, which discards its keys and waiting events, "
           "or start a second cacheed with another --name and move over";
  }
  return "cannot change while cacheed runs: set it in cacheed.toml and restart";
}

}  // namespace

std::string choose_runtime_dir(const std::string& given, const Environment& environment) {
  if (!given.empty()) return given;
  if (const auto path = environment("CACHEE_RUNTIME_DIR")) return *path;
  if (const auto path = environment("XDG_RUNTIME_DIR")) return *path + "/cachee";
  return "/run/cachee";
}

std::string choose_state_dir(const std::string& given, const Environment& environment,
                             bool is_root) {
  if (!given.empty()) return given;
  if (const auto path = environment("CACHEE_STATE_DIR")) return *path;
  if (is_root) return "/var/lib/cachee";
  if (const auto path = environment("XDG_STATE_HOME")) return *path + "/cachee";
  if (const auto path = environment("HOME")) return *path + "/.local/state/cachee";
  return {};
}

std::string socket_path(const Settings& settings) {
  return settings.runtime_dir + "/" + settings.name + ".sock";
}

std::string state_folder(const Settings& settings) {
  return settings.state_dir + "/" + settings.name;
}

std::string triggers_folder(const Settings& settings) {
  if (settings.config_file.empty()) return {};
  return (std::filesystem::path{settings.config_file}.parent_path() / "triggers.d").string();
}

Outcome<std::string> read_password(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::string password(kPasswordBytesMax + 1, '\0');
  in.read(password.data(), static_cast<std::streamsize>(password.size()));
  password.resize(static_cast<std::size_t>(in.gcount()));
  if (password.empty() && !in.eof()) {
    return Failure{Errc::io, fmt::format("--password-file {} cannot be read", file)};
  }
  password = password.substr(0, password.find_first_of("\r\n"));
  if (password.empty() || password.size() > kPasswordBytesMax) {
    return Failure{Errc::invalid_argument,
                   fmt::format("--password-file {}: its first line has {} bytes: expected a "
                               "password of 1 to {}",
                               file, password.size(), kPasswordBytesMax)};
  }
  return password;
}

std::vector<std::pair<std::string, std::string>> list_settings(const Settings& settings) {
  std::vector<std::pair<std::string, std::string>> list;
  for (const Setting& setting : all_settings()) {
    list.emplace_back(setting.option(), setting.show(settings));
  }
  return list;
}

Settings with_figures(Settings settings, const SegmentFigures& segment) {
  settings.memory_bytes = segment.memory_bytes;
  settings.value_bytes_max = segment.value_bytes_max;
  settings.ring_events = segment.ring_events;
  settings.clients_max = segment.clients_max;
  return settings;
}

Outcome<void> change_setting(Settings& settings, std::string_view name, std::string_view value) {
  const Setting* setting = find_setting(name);
  if (setting == nullptr) {
    return Failure{Errc::not_found,
                   fmt::format("unknown setting '{}'{}", name.substr(0, 100), setting_hint(name))};
  }
  if (!setting->changeable) {
    return Failure{Errc::unsupported, fmt::format("{} {}", setting->option(), hindrance(*setting))};
  }
  if (!setting->read(settings, value)) {
    return Failure{Errc::invalid_argument,
                   fmt::format("bad value '{}' for {}: expected {}", value.substr(0, 100),
                               setting->option(), setting->expected)};
  }
  return {};
}

std::vector<SettingChange> changes_between(const Settings& before, const Settings& after) {
  std::vector<SettingChange> changes;
  for (const Setting& setting : all_settings()) {
    SettingChange change{setting.option(), setting.show(before), setting.show(after),
                         hindrance(setting)};
    if (change.before != change.after) changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace cachee::daemon
