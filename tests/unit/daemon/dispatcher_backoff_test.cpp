// Goal: a handler that failed is tried again after its BACKOFF: doubling from the least to the most, one
// half certain and one half chance.
//
// Method: many draws of each wait, compared with its range; then real runs, between which at least the
// certain half must have passed. How much more is the machine's affair.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include <nlohmann/json.hpp>

#include "dispatcher_support.hpp"
#include "events/backoff.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint32_t kAttemptsMost = std::numeric_limits<std::uint32_t>::max();

TriggerSpec waiting(std::uint32_t least_ms, std::uint32_t most_ms) {
  TriggerSpec made;
  made.backoff_min_ms = least_ms;
  made.backoff_max_ms = most_ms;
  return made;
}

/// What many draws of one wait give. The same in each run of the test.
std::set<std::int64_t> draws(const TriggerSpec& spec, std::uint32_t attempts) {
  std::mt19937_64 random{attempts};
  std::set<std::int64_t> all;
  for (int i = 0; i < 5000; ++i) all.insert(backoff_ms(spec, attempts, random));
  return all;
}

TEST(Backoff, DoublesFromTheLeastToTheMostAndHalfOfItIsChance) {
  const TriggerSpec spec = waiting(40, 1000);
  const std::pair<std::uint32_t, std::int64_t> cases[] = {
      {1, 40}, {2, 80}, {3, 160}, {4, 320}, {5, 640}, {6, 1000}, {7, 1000}, {31, 1000}, {32, 1000}, {1000, 1000}, {kAttemptsMost, 1000}};
  for (const auto& [attempts, full] : cases) {
    SCOPED_TRACE(attempts);
    const std::set<std::int64_t> all = draws(spec, attempts);
    EXPECT_EQ(*all.begin(), full / 2);
    EXPECT_EQ(*all.rbegin(), full);
    // Nearly each of the values between came up: what failed together comes back one by one.
    EXPECT_GT(all.size(), static_cast<std::size_t>(full / 2) * 9 / 10);
  }
}

TEST(Backoff, AnAttemptThatWasNotCountedWaitsLikeTheFirst) {
  EXPECT_EQ(draws(waiting(40, 1000), 0), (std::set<std::int64_t>{20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40}));
}

TEST(Backoff, HasABoundWhateverTheBoundsOfTheTriggerAre) {
  EXPECT_EQ(draws(waiting(0, 0), 1), std::set<std::int64_t>{1}) << "nothing is tried again at once, and forever";
  EXPECT_EQ(draws(waiting(0, 0), kAttemptsMost), std::set<std::int64_t>{1});
  EXPECT_EQ(draws(waiting(1, 1), 2), std::set<std::int64_t>{1});
  EXPECT_EQ(draws(waiting(5, 5), 9), (std::set<std::int64_t>{3, 4, 5})) << "the certain half is the larger one";
  // The most is less than the least: the least holds.
  EXPECT_EQ(*draws(waiting(100, 10), 4).rbegin(), 100);
  EXPECT_EQ(*draws(waiting(100, 10), 4).begin(), 50);
  const std::int64_t most = std::numeric_limits<std::uint32_t>::max();
  for (const std::uint32_t attempts : {1u, 2u, 40u, kAttemptsMost}) {
    const std::set<std::int64_t> all = draws(waiting(kAttemptsMost, kAttemptsMost), attempts);
    EXPECT_GE(*all.begin(), most / 2) << attempts;
    EXPECT_LE(*all.rbegin(), most) << attempts;
  }
}

TEST_F(DispatcherTest, TheGapsBetweenAttemptsGrowAsTheBackoffSays) {
  TriggerSpec failing = spec("f:*", EventKind::write, "error('no')");
  failing.retry_attempts = 5;
  failing.backoff_min_ms = 40;
  failing.backoff_max_ms = 10'000;
  put(failing);
  dispatcher_->set_slow_log(0, 100);  // every run
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("f:1", "v"));
  ASSERT_TRUE(eventually([&] { return account("f:*").dead == 1; }));
  const auto runs = dispatcher_->slow_runs(100);
  ASSERT_TRUE(runs);
  std::vector<std::int64_t> ended;
  for (const auto& run : *runs) ended.push_back(run["wall_ms"]);
  std::reverse(ended.begin(), ended.end());
  ASSERT_EQ(ended.size(), 5u);
  std::int64_t certain_ms = 20;
  for (std::size_t i = 1; i < ended.size(); ++i, certain_ms *= 2) {
    EXPECT_GE(ended[i] - ended[i - 1], certain_ms) << "before attempt " << i + 1;
  }
}

}  // namespace
}  // namespace cachee::daemon
