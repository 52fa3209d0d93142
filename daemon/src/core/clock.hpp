// The two clocks of the daemon, in the units that its parts count in.
#pragma once

#include <chrono>
#include <cstdint>

namespace cachee::daemon {

/// Milliseconds since 1970, as a store keeps them: steps when somebody sets the clock.
[[nodiscard]] inline std::int64_t wall_ms() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// Nanoseconds of the clock that never steps: for waits and limits.
[[nodiscard]] inline std::int64_t mono_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace cachee::daemon
