// Goal: linearizable per key, event if and only if effect, nothing torn or lost, whoever is stopped
// or killed wherever. Method: chaos.hpp; the histories are judged by the order of the events
// (watched keys) and by search (unwatched ones), then fsck, then every block must come back.
//
// CACHEE_LINEAR_MS (8000) and CACHEE_LINEAR_CALLS (400000) end a run, whichever is first (a quarter and
// a half of them where nothing is evicted);
// CACHEE_LINEAR_CALLERS (4). The preset `soak` sets the long form.
#include <gtest/gtest.h>

#include "linear/chaos.hpp"
#include "support/seed.hpp"

namespace cachee::test {
namespace {

ChaosPlan plan_of(const char* what) {
  ChaosPlan plan;
  plan.seed = print_seed(what);
  plan.callers = static_cast<std::size_t>(number_setting("CACHEE_LINEAR_CALLERS", 4));
  plan.duration = std::chrono::milliseconds{number_setting("CACHEE_LINEAR_MS", 8000)};
  plan.calls_max = static_cast<std::size_t>(number_setting("CACHEE_LINEAR_CALLS", 400'000));
  plan.segment.memory_bytes = kSegmentBytesMin;
  plan.segment.ring_events = 1024;
  plan.segment.clients_max = 24;
  plan.segment.bucket_count = 8;
  plan.segment.page_bytes = 4096;
  return plan;
}
/// Everything is as it should be, and every key was decided.
void expect_sound(Chaos& chaos, const ChaosPlan& plan) {
  EXPECT_EQ(chaos.run(), "") << "seed " << plan.seed;
  chaos.report();
  EXPECT_GT(chaos.judgement().searched, 0u);
  EXPECT_EQ(chaos.judgement().undecided, 0u) << "seed " << plan.seed;
}

TEST(MultiProcess, HistoriesUnderStopsAndKillsAreLinearizable) {
  const ChaosPlan plan = plan_of("MultiProcess");
  Chaos chaos{plan};
  expect_sound(chaos, plan);
  EXPECT_GT(chaos.judgement().calls, 2000u);
  EXPECT_GT(chaos.judgement().events, 500u);
  EXPECT_GT(chaos.judgement().evicted, 0u);
  EXPECT_GT(chaos.judgement().expired, 0u);
  EXPECT_GT(chaos.callers_killed(), 10u);
  EXPECT_GT(chaos.supervisors_killed(), 1u);
  EXPECT_GT(chaos.stops(), 10u);
}

// Where nothing is evicted a write that was lost cannot pass for an eviction.
TEST(MultiProcess, NoWriteIsLostWhereNothingIsEvicted) {
  ChaosPlan plan = plan_of("MultiProcess.none");
  plan.duration /= 4;
  plan.calls_max /= 2;
  plan.keys = {.mixed = 4, .counters = 1, .large = 0, .unwatched = 6};
  plan.segment.eviction = EvictionPolicy::none;
  Chaos chaos{plan};
  expect_sound(chaos, plan);
  EXPECT_GT(chaos.judgement().calls, 500u);
  EXPECT_EQ(chaos.judgement().evicted, 0u);
  EXPECT_GT(chaos.judgement().expired, 0u);
  EXPECT_GT(chaos.callers_killed(), 2u);
}

}  // namespace
}  // namespace cachee::test
