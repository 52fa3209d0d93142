// The daemon's log: spdlog behind four functions. Lines go to stderr.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace cachee::daemon::log {

enum class Level { debug, info, warn, error };

/// Sets the level by name. Returns false for an unknown one.
bool set_level(std::string_view name) noexcept;
/// Names the process in every line ("cacheed", "executor 0").
void set_process(std::string_view name);
[[nodiscard]] bool enabled(Level level) noexcept;
void write(Level level, std::string_view text) noexcept;

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace cachee::daemon::log
