// Goal: linearizable per key, event if and only if effect, nothing torn or lost, whoever is stopped
// or killed wherever. Method: chaos.hpp; the histories are judged by the order of the events
// (watched keys) and by search (unwatched ones), then fsck, then every block must come back.
//
// CACHEE_LINEAR_MS (8000) and CACHEE_LINEAR_CALLS (400000) end a run, whichever is first;
// CACHEE_LINEAR_CALLERS (4). The preset `soak` sets the long form.
#include <gtest/gtest.h>

#include "linear/chaos.hpp"
#include "support/seed.hpp"

namespace cachee::test {
namespace {

TEST(MultiProcess, HistoriesUnderStopsAndKillsAreLinearizable) {
  ChaosPlan plan;
  plan.seed = print_seed("MultiProcess");
  plan.callers = static_cast<std::size_t>(number_setting("CACHEE_LINEAR_CALLERS", 4));
  plan.duration = std::chrono::milliseconds{number_setting("CACHEE_LINEAR_MS", 8000)};
  plan.calls_max = static_cast<std::size_t>(number_setting("CACHEE_LINEAR_CALLS", 400'000));
  plan.segment.memory_bytes = kSegmentBytesMin;
  plan.segment.ring_events = 1024;
  plan.segment.clients_max = 24;
  plan.segment.bucket_count = 8;
  plan.segment.page_bytes = 4096;
  Chaos chaos{plan};
  EXPECT_EQ(chaos.run(), "") << "seed " << plan.seed;
  chaos.report();
  EXPECT_GT(chaos.judgement().calls, 2000u);
  EXPECT_GT(chaos.judgement().events, 500u);
  EXPECT_GT(chaos.judgement().evicted, 0u);
  EXPECT_GT(chaos.judgement().expired, 0u);
  EXPECT_GT(chaos.callers_killed(), 10u);
  EXPECT_GT(chaos.supervisors_killed(), 1u);
  EXPECT_GT(chaos.stops(), 10u);
}

}  // namespace
}  // namespace cachee::test
