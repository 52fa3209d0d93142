// The table of settings: one row each, from which everything else is made.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace cachee::daemon {

struct Setting {
  std::string key{};       // in TOML: "memory", "webhook.attempts"
  std::string value{};     // what stands for the value in --help: "SIZE"; empty: a flag
  std::string expected{};  // for messages: "a size from 1MiB, as 256MiB or 2G"
  std::string summary{};   // one sentence
  bool changeable = false;        // while cacheed runs
  bool of_segment = false;        // fixed when the segment is made, for its life
  bool option_only = false;       // has no place in a file
  bool text_only = false;         // in TOML only as a string
  /// False: the value is not what was expected; nothing has changed.
  std::function<bool(Settings&, std::string_view)> read{};
  /// As text that read() takes.
  std::function<std::string(const Settings&)> show{};

  /// "webhook-attempts"
  [[nodiscard]] std::string option() const;
};

[[nodiscard]] std::span<const Setting> all_settings();
/// By its TOML key, or by its option without dashes in front.
[[nodiscard]] const Setting* find_setting(std::string_view name);
/// What to say about an unknown name: " (did you mean memory?)" or nothing.
[[nodiscard]] std::string setting_hint(std::string_view name);

}  // namespace cachee::daemon
