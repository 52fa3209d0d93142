// Time. Deadlines are CLOCK_MONOTONIC: steps of the wall clock do not touch them, and time asleep
// (suspend) does not count. The coarse clock is some nanoseconds to read and at most
// kCoarseLagNs behind the precise one.
#pragma once

#include <cstdint>
#include <ctime>

#include <cachee/types.hpp>

namespace cachee::base {

inline constexpr TimeNs kNsPerUs = 1000;
inline constexpr TimeNs kNsPerMs = 1000000;
inline constexpr TimeNs kNsPerS = 1000000000;
inline constexpr TimeNs kCoarseLagNs = 20 * kNsPerMs;  // a tick is at most 10 ms (HZ = 100)

inline TimeNs read_clock(clockid_t id) noexcept {
  timespec t{};
  clock_gettime(id, &t);
  return TimeNs{t.tv_sec} * kNsPerS + t.tv_nsec;
}
inline TimeNs now_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }
inline TimeNs now_coarse_ns() noexcept { return read_clock(CLOCK_MONOTONIC_COARSE); }
inline TimeNs wall_ns() noexcept { return read_clock(CLOCK_REALTIME); }

}  // namespace cachee::base
