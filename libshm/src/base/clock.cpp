#include "base/clock.hpp"

#include <atomic>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace cachee::base {

thread_local constinit CounterClock detail::t_monotonic{CLOCK_MONOTONIC};
thread_local constinit CounterClock detail::t_wall{CLOCK_REALTIME};

#if defined(__x86_64__)

namespace {

constexpr TimeNs kIntervalMinNs = CounterClock::kStretchNs;  // shorter ones measure no rate
// Rates agree within this part of them: twice what the errors of two anchors amount to over the shortest interval.
constexpr std::uint64_t kAgree = 1024;

std::atomic<bool> g_relied_on{false};

bool kernel_counts_by_it() noexcept {
  const int file = ::open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char name[8] = {};
  const ssize_t bytes = ::read(file, name, sizeof name);
  ::close(file);
  return bytes > 0 && std::string_view{name, static_cast<std::size_t>(bytes)} == "tsc\n";
}

}  // namespace

void rely_on_counter() noexcept {
  static const bool usable = kernel_counts_by_it();
  g_relied_on = usable;
}

TimeNs CounterClock::look() noexcept {
  const std::uint64_t before = __builtin_ia32_rdtsc();
  const TimeNs now = read_clock(id_);
  if (!g_relied_on) return now;
  const std::uint64_t took = __builtin_ia32_rdtsc() - before;
  if (took > kAnchorTicks) return now;  // interrupted in between: nobody knows when the clock was read
  const std::uint64_t counter = before + took / 2;
  const TimeNs interval_ns = now - at_;
  if (at_ != 0 && interval_ns >= 0 && interval_ns < kIntervalMinNs) return now;
  const double measured = static_cast<double>(interval_ns) / static_cast<double>(counter - since_);
  // A clock set back, a counter that began anew: no rate at all.
  const bool sensible = at_ != 0 && measured > 0x1p-6 && measured < 0x1p6;
  const std::uint64_t rate = sensible ? static_cast<std::uint64_t>(measured * (std::uint64_t{1} << kRateShift)) : 0;
  const std::uint64_t apart = rate > rate_ ? rate - rate_ : rate_ - rate;
  stretch_ = rate != 0 && apart <= rate / kAgree
                 ? (static_cast<std::uint64_t>(kStretchNs) << kRateShift) / rate
                 : 0;
  since_ = counter;
  at_ = now;
  rate_ = rate;
  return now;
}

#else

void rely_on_counter() noexcept {}

#endif

}  // namespace cachee::base
