// Goal: what only shows when somebody stands still in the middle of a copy or between two accesses.
// Method: the real processes of multiprocess_test in a smaller world, with libshm's hooks before
// each access and inside copies yielding and sleeping at random.
//
// CACHEE_PERTURB_MS (6000) and CACHEE_PERTURB_CALLS (400000) end a run, whichever is first.
#include <gtest/gtest.h>

#include "linear/chaos.hpp"
#include "mem/schedule_hook.hpp"
#include "support/seed.hpp"

namespace cachee::test {
namespace {

std::uint64_t g_random = 1;
std::uint64_t next_random() noexcept {
  g_random ^= g_random << 13;
  g_random ^= g_random >> 7;
  g_random ^= g_random << 17;
  return g_random;
}
void stand_still(std::uint64_t r) noexcept {
  if (r % 4 != 0) {
    sched_yield();
  } else {
    usleep(static_cast<useconds_t>(r / 4 % 200));
  }
}
void at_access() noexcept {
  const std::uint64_t r = next_random();
  if (r % 1024 == 0) stand_still(r / 1024);
}
void in_copy() noexcept {
  const std::uint64_t r = next_random();
  if (r % 8 == 0) stand_still(r / 8);
}

TEST(Perturb, HistoriesWithStallsInsideOperationsAreLinearizable) {
  ChaosPlan plan;
  plan.seed = print_seed("Perturb");
  plan.duration = std::chrono::milliseconds{number_setting("CACHEE_PERTURB_MS", 6000)};
  plan.calls_max = static_cast<std::size_t>(number_setting("CACHEE_PERTURB_CALLS", 400'000));
  // One bucket and five keys: everybody meets everybody, and a freed block is used again at once.
  plan.keys = {.mixed = 3, .counters = 1, .large = 0, .unwatched = 1};
  plan.segment.memory_bytes = kSegmentBytesMin;
  plan.segment.ring_events = 256;
  plan.segment.clients_max = 16;
  plan.segment.bucket_count = 1;
  plan.segment.page_bytes = 4096;
  plan.in_each_process = [](std::uint64_t seed) {
    g_random = seed | 1;
    mem::schedule_point_hook = at_access;
    mem::copy_hook_function = in_copy;
  };
  Chaos chaos{plan};
  EXPECT_EQ(chaos.run(), "") << "seed " << plan.seed;
  chaos.report();
  EXPECT_GT(chaos.judgement().searched, 0u);
  EXPECT_EQ(chaos.judgement().undecided, 0u) << "seed " << plan.seed;
  EXPECT_GT(chaos.judgement().calls, 500u);
  EXPECT_GT(chaos.judgement().events, 100u);
  EXPECT_GT(chaos.callers_killed(), 5u);
  EXPECT_GT(chaos.stops(), 5u);
}

}  // namespace
}  // namespace cachee::test
