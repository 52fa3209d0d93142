// Goal: a scan sees every key that stays, and no reader misses one, whatever is inserted, replaced and
// erased meanwhile, also in chains of overflow buckets.
//
// Method: some keys stay for the whole test; other threads churn all the others, and overwrite those
// that stay, so that slots and records around them change all the time.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

constexpr int kKeysThatStay = 60;
constexpr int kKeysThatCome = 200;

class Churn {
 public:
  explicit Churn(const TempSegment& segment) {
    for (unsigned t = 0; t < 2; ++t) {
      threads_.emplace_back([this, &segment, t] {
        Cache cache = segment.client("churn");
        std::mt19937 random{t + 1};
        while (!stop_) {
          const std::string key = "comes:" + std::to_string(random() % kKeysThatCome);
          if (random() % 2 == 0) {
            static_cast<void>(cache.set(key, std::string(random() % 300, 'c')));
          } else {
            static_cast<void>(cache.erase(key));
          }
          static_cast<void>(cache.set("stays:" + std::to_string(random() % kKeysThatStay), std::string(random() % 100, 's')));
          ++rounds_;
        }
      });
    }
  }
  ~Churn() {
    stop_ = true;
    for (auto& t : threads_) t.join();
  }
  int rounds() const { return rounds_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> rounds_{0};
  std::vector<std::thread> threads_;
};

SegmentOptions long_chains() {
  SegmentOptions options;
  options.memory_bytes = 2 << 20;
  options.bucket_count = 8;                   // chains with overflow buckets, until there are no more of them:
  options.eviction = EvictionPolicy::none;    // then keys that come find no place, and nothing goes for them
  options.clients_max = 16;
  options.ring_events = 256;
  return options;
}

TEST(Scan, SeesEveryKeyThatStaysWhileOthersComeAndGo) {
  TempSegment segment{long_chains()};
  Cache cache = segment.client();
  for (int i = 0; i < kKeysThatStay; ++i) ASSERT_TRUE(cache.set("stays:" + std::to_string(i), "s"));
  Churn churn{segment};
  int scans = 0;
  for (; scans < 40 || (churn.rounds() < 2000 && scans < 20000); ++scans) {
    std::set<std::string> seen;
    std::uint64_t cursor = 0;
    do {
      const auto scanned = cache.scan(cursor, 10, [&](KeyView key) { seen.emplace(key); });
      ASSERT_TRUE(scanned);
      cursor = scanned->cursor;
    } while (cursor != 0);
    for (int i = 0; i < kKeysThatStay; ++i) {
      ASSERT_TRUE(seen.contains("stays:" + std::to_string(i))) << "key " << i << " in scan " << scans;
    }
  }
  EXPECT_GT(churn.rounds(), 0);
  EXPECT_GT(segment_info(cache)->overflow_used, 0u);
}

TEST(Get, NeverMissesAKeyThatStays) {  // [IX-7]
  TempSegment segment{long_chains()};
  Cache cache = segment.client();
  for (int i = 0; i < kKeysThatStay; ++i) ASSERT_TRUE(cache.set("stays:" + std::to_string(i), "s"));
  Churn churn{segment};
  for (int n = 0; n < 20000 || (churn.rounds() < 2000 && n < 2'000'000); ++n) {
    const std::string key = "stays:" + std::to_string(n % kKeysThatStay);
    ASSERT_TRUE(cache.contains(key).value_or(false)) << key << " at " << n;
  }
}

TEST(Scan, OfAnEmptyCacheEnds) {
  TempSegment segment;
  const Cache cache = segment.client();
  std::uint64_t cursor = 0;
  int calls = 0;
  do {
    cursor = cache.scan(cursor, 1, [](KeyView) { FAIL(); })->cursor;
    ASSERT_LT(++calls, 1000);
  } while (cursor != 0);
}

TEST(Scan, TakesAnyCursor) {
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  for (const std::uint64_t cursor : {std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    EXPECT_EQ(cache.scan(cursor, 1, [](KeyView) {})->cursor, 0u);
  }
}

}  // namespace
}  // namespace cachee::test
