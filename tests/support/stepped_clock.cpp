#include "support/stepped_clock.hpp"

#include <atomic>
#include <cstdint>
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::test {
namespace {

constexpr std::int64_t kNsPerS = 1'000'000'000;

std::atomic<std::int64_t> g_wall_ahead_ns{0};
std::atomic<std::int64_t> g_asleep_ns{0};     // what CLOCK_MONOTONIC has missed so far
std::atomic<std::int64_t> g_stands_at_ns{0};  // where it stands; 0: it goes

std::int64_t kernel_ns(clockid_t id) {
  timespec now{};
  ::syscall(SYS_clock_gettime, id, &now);
  return now.tv_sec * kNsPerS + now.tv_nsec;
}

std::int64_t stepped_ns(clockid_t id) {
  switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE: return kernel_ns(id) + g_wall_ahead_ns;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW: {
      const std::int64_t stands_at = g_stands_at_ns;
      return stands_at != 0 ? stands_at : kernel_ns(id) - g_asleep_ns;
    }
    default: return kernel_ns(id);
  }
}

}  // namespace

SteppedClock::~SteppedClock() {
  g_wall_ahead_ns = 0;
  g_asleep_ns = 0;
  g_stands_at_ns = 0;
}

void SteppedClock::step_wall(std::chrono::nanoseconds by) { g_wall_ahead_ns += by.count(); }
void SteppedClock::suspend() { g_stands_at_ns = stepped_ns(CLOCK_MONOTONIC); }
void SteppedClock::resume() {
  g_asleep_ns = kernel_ns(CLOCK_MONOTONIC) - g_stands_at_ns;
  g_stands_at_ns = 0;
}

}  // namespace cachee::test

extern "C" int clock_gettime(clockid_t id, timespec* out) noexcept {
  const std::int64_t now_ns = cachee::test::stepped_ns(id);
  out->tv_sec = now_ns / cachee::test::kNsPerS;
  out->tv_nsec = now_ns % cachee::test::kNsPerS;
  return 0;
}
