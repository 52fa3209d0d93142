// Goal: the memory that a segment is given holds what it should: what an entry costs besides its bytes
// stays within its budget, and nothing has to go before the memory is in use.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <random>
#include <string>

#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

struct Filled {
  std::uint64_t keys = 0;
  std::uint64_t payload_bytes = 0;
  SegmentInfo info{};
  /// Everything but free memory counts: records, index, ring, tables, page ends.
  double overhead_per_key() const {
    const std::uint64_t taken = info.segment_bytes - (info.data_bytes - info.used_bytes);
    return static_cast<double>(taken - payload_bytes) / static_cast<double>(keys);
  }
  double fill() const { return static_cast<double>(info.used_bytes) / static_cast<double>(info.data_bytes); }
};

/// Sets keys of 16 bytes until `fill_wanted` of the data is in use, or one is refused.
template <class ValueBytes>
Filled fill(std::uint64_t memory_bytes, double fill_wanted, ValueBytes&& value_bytes) {
  SegmentOptions options;
  options.memory_bytes = memory_bytes;
  options.eviction = EvictionPolicy::none;
  TempSegment segment{options};
  Cache cache = segment.client();
  const std::string value(64 * 1024, 'v');
  Filled filled;
  const auto look = [&] {
    auto info = segment_info(cache);
    EXPECT_TRUE(info);
    filled.info = std::move(*info);
    return filled.fill() < fill_wanted;
  };
  for (constexpr std::uint64_t kLookEvery = 20000; filled.keys % kLookEvery != 0 || look();) {
    char key[17];
    std::snprintf(key, sizeof key, "%016llx", static_cast<unsigned long long>(filled.keys));
    const std::size_t bytes = value_bytes();
    const auto written = cache.set({key, 16}, {value.data(), bytes});
    if (!written) {
      EXPECT_EQ(written.code(), Errc::no_space);
      look();
      break;
    }
    ++filled.keys;
    filled.payload_bytes += 16 + bytes;
  }
  return filled;
}

TEST(Capacity, AnEntryCostsNoMoreThanItsBudget) {
  const Filled filled = fill(200 * kMiB, 0.85, [] { return std::size_t{64}; });
  RecordProperty("overhead_bytes", std::to_string(filled.overhead_per_key()));
  std::printf("%llu keys of 16 + 64 bytes, %.1f %% full: %.1f bytes of overhead each\n",
              static_cast<unsigned long long>(filled.keys), 100 * filled.fill(), filled.overhead_per_key());
  EXPECT_GE(filled.fill(), 0.85);
  EXPECT_LE(filled.overhead_per_key(), 94);  // libshm/doc/segment-format.md says of what
}

TEST(Capacity, SmallRecordsFillTheMemoryBeforeOneIsRefused) {
  const Filled filled = fill(64 * kMiB, 1.01, [] { return std::size_t{64}; });
  EXPECT_GE(filled.fill(), 0.99);
}

TEST(Capacity, MixedSizesFillTheMemoryBeforeOneIsRefused) {
  std::mt19937_64 random{20240229};
  const auto small = [&] { return static_cast<std::size_t>(random() % 1024); };
  // Most are small, some are kilobytes, a few fill most of a page: many size classes at once.
  const auto wide = [&] {
    const auto kind = random() % 100;
    return static_cast<std::size_t>(random() % (kind < 80 ? 512 : kind < 95 ? 8192 : 60000));
  };
  const Filled of_small = fill(200 * kMiB, 1.01, small);
  const Filled of_wide = fill(200 * kMiB, 1.01, wide);
  std::printf("full at %.1f %% (up to 1 KiB) and %.1f %% (up to 60,000 bytes)\n", 100 * of_small.fill(), 100 * of_wide.fill());
  EXPECT_GE(of_small.fill(), 0.95);
  EXPECT_GE(of_wide.fill(), 0.95);
}

/// Sets keys of 16 bytes, with the supervisor's sweep after each, until the first one is evicted. How full it was.
template <class ValueBytes>
double fill_at_first_eviction(ValueBytes&& value_bytes) {
  SegmentOptions options;
  options.memory_bytes = 32 * kMiB;
  options.eviction = EvictionPolicy::balanced;
  TempSegment segment{options};
  TriggerTable table;
  table.triggers.push_back({.name = "gone", .pattern = "*", .events = event_bit(EventKind::evict), .source = "return"});
  EXPECT_TRUE(segment.keeper().publish_triggers(table, std::chrono::seconds{1}));
  Cache cache = segment.client();
  const EventReader reader = segment.keeper().reader();
  const std::string value(64 * 1024, 'v');
  constexpr std::uint64_t kKeysMax = 32 * kMiB / 64;  // more than fit
  for (std::uint64_t i = 0; i < kKeysMax && !reader.at(EventSeq{0}); ++i) {
    char key[17];
    std::snprintf(key, sizeof key, "%016llx", static_cast<unsigned long long>(i));
    EXPECT_TRUE(cache.set({key, 16}, {value.data(), value_bytes()}));
    static_cast<void>(segment.keeper().evict(1));
  }
  const Filled filled{.info = *segment_info(cache)};
  EXPECT_GT(filled.info.totals.evicted, 0u);
  return filled.fill();
}

TEST(Capacity, NothingIsEvictedBeforeTheMemoryIsInUse) {
  std::mt19937_64 random{20240301};
  const double of_one = fill_at_first_eviction([] { return std::size_t{64}; });
  const double of_small = fill_at_first_eviction([&] { return static_cast<std::size_t>(random() % 1024); });
  std::printf("first eviction at %.1f %% (64 bytes) and %.1f %% (up to 1 KiB)\n", 100 * of_one, 100 * of_small);
  EXPECT_GE(of_one, 0.98);  // one hundredth of each class is kept free
  EXPECT_GE(of_small, 0.95);
}

}  // namespace
}  // namespace cachee::test
