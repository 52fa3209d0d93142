// Goal: percentiles are right to the promised error. Method: compare with exact ranks of sorted
// samples, for small, uniform and heavy-tailed ones.
#include "histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace cachee::cli {
namespace {

constexpr double kErrorMax = 0.016;

std::uint64_t exact_percentile(std::vector<std::uint64_t> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(
      std::ceil(percent / 100 * static_cast<double>(values.size()) - 1e-6));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

void expect_close(const std::vector<std::uint64_t>& values) {
  Histogram histogram;
  for (const auto value : values) histogram.record(value);
  for (const double percent : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto exact = static_cast<double>(exact_percentile(values, percent));
    const auto found = static_cast<double>(histogram.percentile(percent));
    EXPECT_GE(found, exact) << percent;
    EXPECT_LE(found, exact * (1 + kErrorMax) + 1) << percent;
  }
  EXPECT_EQ(histogram.count(), values.size());
  EXPECT_EQ(histogram.max(), *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(histogram.min(), *std::min_element(values.begin(), values.end()));
}

TEST(Histogram, EmptyHasZeros) {
  const Histogram histogram;
  EXPECT_EQ(histogram.percentile(50), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.min(), 0U);
  EXPECT_EQ(histogram.mean(), 0);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t i = 1; i <= 100; ++i) histogram.record(i);
  EXPECT_EQ(histogram.percentile(50), 50U);
  EXPECT_EQ(histogram.percentile(90), 90U);
  EXPECT_EQ(histogram.percentile(99), 99U);
  EXPECT_EQ(histogram.percentile(100), 100U);
  EXPECT_DOUBLE_EQ(histogram.mean(), 50.5);
}

TEST(Histogram, ARankThatIsWholeIsNotRoundedUp) {
  Histogram histogram;
  for (std::uint64_t i = 0; i < 999; ++i) histogram.record(10);
  histogram.record(100);
  EXPECT_EQ(histogram.percentile(99.9), 10U) << "999 of 1000 are 10";
  EXPECT_EQ(histogram.percentile(99.91), 100U);
}

TEST(Histogram, UniformAndHeavyTailedSamplesAreWithinTheError) {
  std::mt19937_64 random{7};
  std::vector<std::uint64_t> uniform;
  std::vector<std::uint64_t> tailed;
  for (int i = 0; i < 20000; ++i) {
    uniform.push_back(random() % 1000000);
    tailed.push_back(std::uint64_t{1} << (random() % 63) | (random() % 4096));
  }
  expect_close(uniform);
  expect_close(tailed);
}

TEST(Histogram, TheLargestValuesHaveABucket) {
  expect_close({0, 127, 128, 255, 256, ~std::uint64_t{0} >> 1, ~std::uint64_t{0}});
}

TEST(Histogram, MergingIsTheSameAsRecordingAll) {
  Histogram left;
  Histogram right;
  Histogram all;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? left : right).record(i * i);
    all.record(i * i);
  }
  left.merge(right);
  for (const double percent : {1.0, 50.0, 99.0, 100.0}) {
    EXPECT_EQ(left.percentile(percent), all.percentile(percent));
  }
  EXPECT_EQ(left.count(), all.count());
  EXPECT_EQ(left.min(), all.min());
  EXPECT_DOUBLE_EQ(left.mean(), all.mean());
}

}  // namespace
}  // namespace cachee::cli
