// Goal: in the steady state the supervisor makes all room, whatever the sizes of the values, and memory follows the
// load between sizes. Method: small segments, kept by the test itself, a step of eviction every few sets: so what
// writers do themselves is the fault of the steps and not of the machine.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "api/handle.hpp"
#include "eviction/calibration.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{32} << 20;

SegmentOptions with_memory(std::uint64_t bytes, EvictionPolicy policy = EvictionPolicy::balanced) {
  SegmentOptions options;
  options.memory_bytes = bytes;
  options.page_bytes = 65536;  // as a segment of some size has
  options.ring_events = kRingEventsMin;
  options.clients_max = 8;
  options.eviction = policy;
  return options;
}

/// Writes new keys, with a step of eviction behind every few.
class Load {
 public:
  Load(TempSegment& segment, std::uint64_t sets_per_step, std::string stem = "k")
      : segment_{segment}, cache_{segment.client()}, sets_per_step_{sets_per_step}, stem_{std::move(stem)} {}

  void write(std::uint64_t bytes_in_all, std::uint64_t bytes_min, std::uint64_t bytes_max) {
    std::uniform_int_distribution<std::uint64_t> size{bytes_min, bytes_max};
    for (std::uint64_t sum = 0; sum < bytes_in_all;) {
      const std::uint64_t bytes = size(random_);
      const auto written = cache_.set(stem_ + std::to_string(sets_), std::string_view{value_}.substr(0, bytes));
      ASSERT_TRUE(written) << sets_ << ": " << to_string(written.error());
      sum += bytes;
      if (++sets_ % sets_per_step_ == 0) static_cast<void>(segment_.keeper().evict(2000));
    }
  }
  Cache& cache() { return cache_; }
  std::uint64_t sets() const { return sets_; }
  std::uint64_t waited() { return segment_info(cache_)->totals.waited_for_room; }
  /// Bytes of the blocks of so many bytes and more that hold a record, in percent of all memory for data.
  std::uint64_t share_of_blocks(std::uint64_t bytes_min) {
    std::uint64_t bytes = 0;
    const auto slabs = list_slabs(cache_);
    for (const auto& slab : *slabs) bytes += slab.block_bytes >= bytes_min ? slab.live * slab.block_bytes : 0;
    return 100 * bytes / segment_info(cache_)->data_bytes;
  }

 private:
  TempSegment& segment_;
  Cache cache_;
  std::uint64_t sets_per_step_;
  std::string stem_;
  std::uint64_t sets_ = 0;
  std::mt19937_64 random_{1};
  const std::string value_ = std::string(std::size_t{2} << 20, 'v');
};

struct Sizes {
  const char* name;
  std::uint64_t bytes_min, bytes_max, sets_per_step;
  std::uint64_t waited_max_per_mille, used_min_percent;
};
class RoomFor : public testing::TestWithParam<Sizes> {};

TEST_P(RoomFor, WritersFindItMade) {
  const Sizes& sizes = GetParam();
  TempSegment segment{with_memory(kMemory)};
  Load load{segment, sizes.sets_per_step};
  load.write(2 * kMemory, sizes.bytes_min, sizes.bytes_max);  // full, and one turnover further
  const std::uint64_t waited = load.waited();
  const std::uint64_t sets = load.sets();
  load.write(2 * kMemory, sizes.bytes_min, sizes.bytes_max);
  EXPECT_LE(1000 * (load.waited() - waited), sizes.waited_max_per_mille * (load.sets() - sets));
  EXPECT_GE(load.share_of_blocks(0), sizes.used_min_percent);
  EXPECT_EQ(findings(load.cache()), "");
}

INSTANTIATE_TEST_SUITE_P(Sizes, RoomFor,
                         testing::Values(Sizes{"OneSize", 200, 200, 40, 0, 95}, Sizes{"ThreeSizes", 200, 216, 20, 0, 95},
                                         Sizes{"SmallMixed", 40, 1000, 40, 2, 95}, Sizes{"Pages", 40'000, 200'000, 1, 20, 90},
                                         // Sixty classes with a handful of blocks each, of which one is kept free.
                                         Sizes{"SmallToPages", 100, 60'000, 4, 80, 80}),
                         [](const auto& one) { return std::string{one.param.name}; });

struct Follow {
  const char* name;
  std::uint64_t bytes;
  EvictionPolicy policy;
  std::uint64_t turnovers, percent_min;
};
class MemoryFollows : public testing::TestWithParam<Follow> {};

// 90 % of all memory in blocks of the new size. Of runs of five pages and more the remainders between them and the gap that is
// kept for the next one are a tenth of so small a segment.
TEST_P(MemoryFollows, TheLoadFromSmallToLargeValues) {
  const Follow& follow = GetParam();
  TempSegment segment{with_memory(kMemory, follow.policy)};
  Load small{segment, 40};
  small.write(kMemory, 100, 100);
  ASSERT_EQ(small.share_of_blocks(2048), 0u);
  Load load{segment, follow.bytes > 10'000 ? 1u : 8u, "large"};
  load.write(follow.turnovers * kMemory, follow.bytes, follow.bytes);
  EXPECT_GE(load.share_of_blocks(2048), follow.percent_min);
  EXPECT_EQ(findings(load.cache()), "");
}

TEST(MemoryFollowsBack, FromLargeToSmallValues) {
  TempSegment segment{with_memory(kMemory)};
  Load load{segment, 20};
  load.write(kMemory, 100'000, 100'000);
  load.write(3 * kMemory, 100, 100);
  EXPECT_GE(load.share_of_blocks(0) - load.share_of_blocks(2048), 90u);
  EXPECT_EQ(findings(load.cache()), "");
}

INSTANTIATE_TEST_SUITE_P(Sizes, MemoryFollows,
                         testing::Values(Follow{"Balanced4KiB", 4096, EvictionPolicy::balanced, 4, 90},
                                         Follow{"Balanced60KB", 60'000, EvictionPolicy::balanced, 4, 90},
                                         Follow{"Balanced300KB", 300'000, EvictionPolicy::balanced, 4, 85},
                                         Follow{"Balanced1MB", 1'000'000, EvictionPolicy::balanced, 4, 80},
                                         Follow{"Cost4KiB", 4096, EvictionPolicy::cost, 4, 90}, Follow{"Lru4KiB", 4096, EvictionPolicy::lru, 4, 90},
                                         Follow{"Lru300KB", 300'000, EvictionPolicy::lru, 4, 85}),
                         [](const auto& one) { return std::string{one.param.name}; });

// What is read stays, however many large values pass by that nobody reads.
TEST(MemoryDoesNotFollow, ALoadThatNobodyReads) {
  TempSegment segment{with_memory(kMemory)};
  Load load{segment, 4};
  constexpr int kRead = 20'000;
  const auto name = [](int i) { return "read" + std::to_string(i); };
  for (int i = 0; i < kRead; ++i) ASSERT_TRUE(load.cache().set(name(i), std::string(100, 'v')));
  std::uint64_t hits = 0;
  for (int round = 0; round < 40; ++round) {
    load.write(kMemory / 8, 60'000, 60'000);
    hits = 0;
    for (int i = 0; i < kRead; ++i) hits += load.cache().get(name(i)) ? 1 : 0;
  }
  EXPECT_GE(hits, kRead * 95u / 100);
}

TEST(Gaps, AreGivenBackWhenNothingIsEvictedAnyMore) {
  TempSegment segment{with_memory(kMemory)};
  Load load{segment, 1};
  load.write(2 * kMemory, 200'000, 200'000);
  EXPECT_GT(segment_info(load.cache())->pages_free, 0u);
  segment.keeper().set_eviction_policy(EvictionPolicy::none);
  static_cast<void>(segment.keeper().evict(1000));
  // Small values get the last page.
  for (int i = 0; load.cache().set("small" + std::to_string(i), std::string(100, 'v')); ++i) ASSERT_LT(i, 1 << 20);
  EXPECT_EQ(segment_info(load.cache())->pages_free, 0u);
  EXPECT_EQ(findings(load.cache()), "");
}

TEST(Calibration, TakesScoresAtTheirWordUnlessAWholeClassIsDead) {
  using layout::HeatWord;
  constexpr unsigned kUsed = 3, kDead = 5, kWritten = 7;
  constexpr std::uint64_t kLooks = 3000;
  shm::Calibration calibration;
  std::uint64_t epoch = 500;
  const auto turn = [&](bool dead_is_used) {
    for (std::uint64_t i = 0; i < kLooks / 3; ++i) {
      const std::uint64_t ago = i % 64;
      // Used once in four epochs, for long.
      calibration.note(kUsed, HeatWord::make(31, false, 16, epoch - i % 4, epoch - 124), epoch);
      calibration.note(kDead, HeatWord::make(0, false, 16, dead_is_used ? epoch - i % 4 : 400, 400), epoch);
      calibration.note(kWritten, HeatWord::make(0, false, 16, epoch - ago, epoch - ago), epoch);
    }
    calibration.advance(1, kLooks);
    ++epoch;
  };
  EXPECT_EQ(calibration.weight(kDead), 0);
  for (int n = 0; n < 64; ++n) turn(false);
  EXPECT_EQ(calibration.weight(kUsed), 0);
  EXPECT_EQ(calibration.weight(kWritten), 0) << "to be written only is not to be dead";
  EXPECT_LT(calibration.weight(kDead), -10 * shm::kScoreOctave);
  // It lives again, and all is forgotten within a turnover.
  for (int n = 0; n < 64; ++n) turn(true);
  EXPECT_EQ(calibration.weight(kDead), 0);
}

TEST(Calibration, AStormOfEvictionDoesNotOutweighWhatComesAfterIt) {
  using layout::HeatWord;
  constexpr unsigned kClass = 3;
  constexpr std::uint64_t kLooks = 100;
  shm::Calibration calibration;
  const auto look = [&](std::uint64_t times, std::uint64_t hit) {
    for (std::uint64_t i = 0; i < times; ++i) calibration.note(kClass, HeatWord::make(1, false, 16, hit, 400), 600);
    calibration.advance(1, kLooks);
  };
  look(1'000'000, 600);
  for (int n = 0; n < 128; ++n) look(kLooks, 450);
  EXPECT_LT(calibration.weight(kClass), -3 * shm::kScoreOctave);
}

}  // namespace
}  // namespace cachee::test
