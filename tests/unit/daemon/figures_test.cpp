// Goal: percentiles are right within a bucket, whatever the values; the slow log keeps what it is told to.
#include "events/figures.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace cachee::daemon {
namespace {

TEST(Histogram, PercentilesAreAtMostAQuarterTooHigh) {
  std::mt19937_64 random{7};
  for (int round = 0; round < 20; ++round) {
    Histogram histogram;
    std::vector<std::uint64_t> values;
    std::uint64_t sum = 0;
    for (int n = 0; n < 1000; ++n) {
      values.push_back(random() >> (random() % 64));
      sum += values.back();
      histogram.add(values.back());
    }
    std::sort(values.begin(), values.end());
    EXPECT_EQ(histogram.count(), 1000u);
    EXPECT_EQ(histogram.sum(), sum);
    EXPECT_EQ(histogram.max(), values.back());
    for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const std::uint64_t exact = values[static_cast<std::size_t>(std::ceil(share * 1000)) - 1];
      const std::uint64_t told = histogram.percentile(share);
      EXPECT_GE(told, exact) << share;
      EXPECT_LE(told - exact, exact / 4) << share;
    }
    const std::uint64_t bound = values[500];
    const auto through = static_cast<std::uint64_t>(std::upper_bound(values.begin(), values.end(), bound) - values.begin());
    EXPECT_LE(histogram.count_through(bound), through);
    EXPECT_EQ(histogram.count_through(~std::uint64_t{0}), 1000u);
  }
}

TEST(Histogram, NothingAndTheSmallestAndTheLargest) {
  Histogram histogram;
  EXPECT_EQ(histogram.percentile(0.5), 0u);
  histogram.add(0);
  EXPECT_EQ(histogram.percentile(1), 0u);
  histogram.add(~std::uint64_t{0});
  EXPECT_EQ(histogram.percentile(1), ~std::uint64_t{0});
  EXPECT_EQ(histogram.count_through(0), 1u);
}

TEST(SlowLog, KeepsTheLastThatWereSlow) {
  SlowLog log;
  EXPECT_FALSE(log.wants(~std::uint64_t{0}));  // no rules yet
  log.set_rules(100, 3);
  EXPECT_FALSE(log.wants(99));
  EXPECT_TRUE(log.wants(100));
  for (std::uint64_t n = 0; n < 5; ++n) log.add({.run_ns = 100 + n});
  ASSERT_EQ(log.runs().size(), 3u);
  EXPECT_EQ(log.runs().front().id, 4u);
  EXPECT_EQ(log.runs().back().run_ns, 102u);
  log.set_rules(0, 1);
  EXPECT_TRUE(log.wants(0));
  EXPECT_EQ(log.runs().size(), 1u);
  log.clear();
  log.add({});
  EXPECT_EQ(log.runs().front().id, 5u);  // ids go on
  log.set_rules(0, 0);
  EXPECT_FALSE(log.wants(5));
}

}  // namespace
}  // namespace cachee::daemon
