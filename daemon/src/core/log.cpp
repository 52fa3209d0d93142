#include "core/log.hpp"

#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace cachee::daemon::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_logger_mt("cacheed");
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %n[%P] %v");
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

std::shared_ptr<spdlog::logger>& renamed() {
  static std::shared_ptr<spdlog::logger> other;
  return other;
}

spdlog::logger& current() { return renamed() ? *renamed() : logger(); }

spdlog::level::level_enum to_spdlog(Level level) noexcept {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

bool set_level(std::string_view name) noexcept {
  for (const Level level : {Level::debug, Level::info, Level::warn, Level::error}) {
    constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
    if (name == kNames[static_cast<int>(level)]) {
      current().set_level(to_spdlog(level));
      return true;
    }
  }
  return false;
}

void set_process(std::string_view name) { renamed() = current().clone(std::string{name}); }

bool enabled(Level level) noexcept { return current().should_log(to_spdlog(level)); }

void write(Level level, std::string_view text) noexcept {
  current().log(to_spdlog(level), spdlog::string_view_t{text.data(), text.size()});
}

}  // namespace cachee::daemon::log
