#include "sim/clock.hpp"

#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

#include "mem/schedule_hook.hpp"

namespace cachee::sim {
namespace {
std::int64_t g_now_ns = 0;
std::int64_t g_wall_ahead_ns = 0;
}

void set_clock(std::int64_t now_ns) noexcept {
  g_now_ns = now_ns;
  g_wall_ahead_ns = 0;
}
std::int64_t clock_now() noexcept { return g_now_ns; }
void jump_clock(std::int64_t by_ns) noexcept {
  mem::schedule_point(&g_now_ns, true);
  g_now_ns += by_ns;
}
void step_wall_clock(std::int64_t by_ns) noexcept {
  mem::schedule_point(&g_now_ns, true);
  g_wall_ahead_ns += by_ns;
}
void tick_clock() noexcept { ++g_now_ns; }

}  // namespace cachee::sim

// In place of the C library's, for everything that is linked into the program.
extern "C" int clock_gettime(clockid_t id, timespec* out) {
  using namespace cachee;
  if (sim::clock_now() == 0) return static_cast<int>(syscall(SYS_clock_gettime, id, out));
  mem::schedule_point(&sim::g_now_ns, false);
  const bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
  const std::int64_t now_ns = sim::g_now_ns + (wall ? sim::g_wall_ahead_ns : 0);
  out->tv_sec = now_ns / 1'000'000'000;
  out->tv_nsec = now_ns % 1'000'000'000;
  return 0;
}
