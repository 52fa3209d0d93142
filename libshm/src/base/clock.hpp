// Time. TTLs are CLOCK_MONOTONIC: steps of the wall clock do not touch them, and time asleep (suspend)
// does not count; a moment that somebody named is CLOCK_REALTIME. The coarse clocks are some nanoseconds
// to read and behind the precise ones by a tick, and by as long as the processor that keeps time is
// stalled: kCoarseLagNs is what nothing stalls it for. A step shows in them at once.
//
// The precise clocks are asked by way of the processor's time stamp counter: a read of it alone is
// a third of clock_gettime(), and the processor goes on with other work meanwhile, which the
// fences around the kernel's own read forbid. Each thread has an anchor for each clock, a moment of
// both, and the counter's rate between its last two anchors; it counts on from the anchor for
// kStretchNs, then takes a new one. So a step of the clock, a suspend and a change of its speed
// show after kStretchNs at the latest.
//
// An anchor is taken only when both were read within kAnchorTicks, and a rate is relied on only
// while the last two agree: behind a step, a suspend or under a clock that does not go with the
// counter at all, clock_gettime() answers. So it does where the counter may not be the same on
// every core, that is, where the kernel itself does not keep time by it (rely_on_counter).
//
// Error: at most kClockErrorNs against clock_gettime() of the same moment, most often under 100 ns:
// kAnchorTicks of the anchor, the same twice over kStretchNs of the rate, 500 ppm of it when the
// kernel slews its clock. Two reads of one thread may differ by that much the wrong way round.
#pragma once

#include <cstdint>
#include <ctime>

#include <cachee/types.hpp>

namespace cachee::base {

inline constexpr TimeNs kNsPerUs = 1000;
inline constexpr TimeNs kNsPerMs = 1000000;
inline constexpr TimeNs kNsPerS = 1000000000;
inline constexpr TimeNs kCoarseLagNs = kNsPerS;  // a tick is at most 10 ms; a guest's processor stands still for more now and then
inline constexpr TimeNs kClockErrorNs = 5 * kNsPerUs;

inline TimeNs read_clock(clockid_t id) noexcept {
  timespec t{};
  clock_gettime(id, &t);
  return TimeNs{t.tv_sec} * kNsPerS + t.tv_nsec;
}

/// A clock of the kernel, for one thread.
class CounterClock {
 public:
  constexpr explicit CounterClock(clockid_t id) noexcept : id_{id} {}
  TimeNs now() noexcept {
#if defined(__x86_64__)
    const std::uint64_t ticks = __builtin_ia32_rdtsc() - since_;
    if (ticks < stretch_) [[likely]] return at_ + static_cast<TimeNs>(ticks * rate_ >> kRateShift);
    return look();
#else
    return read_clock(id_);
#endif
  }

  static constexpr unsigned kRateShift = 32;
  static constexpr TimeNs kStretchNs = 4 * kNsPerMs;
  static constexpr std::uint64_t kAnchorTicks = 2048;

 private:
  [[gnu::noinline, gnu::cold]] TimeNs look() noexcept;

  std::uint64_t since_ = 0;    // the counter at the anchor
  std::uint64_t stretch_ = 0;  // ticks for which the anchor holds; 0: it does not
  std::uint64_t rate_ = 0;     // ns per tick, kRateShift bits behind the point
  TimeNs at_ = 0;              // the clock at the anchor; 0: there is none
  clockid_t id_;
};

namespace detail {
// initial-exec: an access costs no call in the shared library either.
extern thread_local constinit CounterClock t_monotonic [[gnu::tls_model("initial-exec")]];
extern thread_local constinit CounterClock t_wall [[gnu::tls_model("initial-exec")]];
}  // namespace detail

/// Lets the clocks go by the counter from now on, if the kernel's do. Any number of times; reads a
/// file, so before a process gives that up.
void rely_on_counter() noexcept;

inline TimeNs now_ns() noexcept { return detail::t_monotonic.now(); }
/// A step of the wall clock shows kStretchNs later in it: for what is told, not for what is reckoned with.
inline TimeNs wall_stamp_ns() noexcept { return detail::t_wall.now(); }
inline TimeNs wall_ns() noexcept { return read_clock(CLOCK_REALTIME); }
inline TimeNs now_coarse_ns() noexcept { return read_clock(CLOCK_MONOTONIC_COARSE); }
inline TimeNs wall_coarse_ns() noexcept { return read_clock(CLOCK_REALTIME_COARSE); }

}  // namespace cachee::base
