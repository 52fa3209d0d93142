// Goal: what eviction promises beyond a good miss ratio (bench/traces measures that): what the event
// carries, that expiry comes first, and that what moves stays as it was (room_test.cpp: who makes the room, and whose it
// is). Method: small segments, kept by the test itself.
#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <list>
#include <random>
#include <unordered_map>

#include "api/handle.hpp"
#include "crash/world.hpp"
#include "eviction/eviction.hpp"
#include "eviction/reuse.hpp"
#include "eviction/score.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

SegmentOptions sized(std::uint64_t memory, EvictionPolicy policy = EvictionPolicy::balanced) {
  SegmentOptions options;
  options.memory_bytes = memory;
  options.ring_events = 1024;
  options.clients_max = 16;
  options.eviction = policy;
  return options;
}

std::string key_of(const char* stem, int i) { return stem + std::to_string(i); }

TEST(Eviction, TheEventCarriesValueCostSizeHitsAndAge) {
  World world{sized(kSegmentBytesMin, EvictionPolicy::lru), event_bit(EventKind::evict)};
  const std::string value(700, 'o');
  const TimeNs before_set = monotonic_ns();
  ASSERT_TRUE(world.cache().set("old", value, {.cost = 12.5}));
  const TimeNs after_set = monotonic_ns();
  while (monotonic_ns() < after_set + 50'000'000) {
  }
  std::optional<std::string> seen;
  const EventReader reader = world.keeper().reader();
  for (int i = 0; i < 20000 && !seen; ++i) {
    if (i < 200) {
      ASSERT_TRUE(world.cache().get("old"));
    }
    ASSERT_TRUE(world.cache().set(key_of("k", i), value));
    const TimeNs before_evict = monotonic_ns();
    static_cast<void>(world.keeper().evict(100));
    for (std::uint64_t p = reader.head();; ++p) {
      const auto event = reader.at(EventSeq{p});
      if (!event) break;
      if (event->key != "old") {
        EXPECT_EQ(event->hits(), 0u) << event->key << " was read by nobody";
        continue;
      }
      seen = std::string{event->value};
      EXPECT_EQ(event->kind, EventKind::evict);
      EXPECT_EQ(event->cost(), 12.5);
      EXPECT_EQ(event->size(), value.size());
      // Counted by epochs of the hand, up to 31; half of them are left when there are more.
      EXPECT_GE(event->hits(), 8u);
      EXPECT_LE(event->hits(), 31u);
      // The value's time is that of the coarse clock.
      constexpr std::uint64_t kCoarseMs = 20;
      EXPECT_GE(event->age_ms() + kCoarseMs, static_cast<std::uint64_t>((before_evict - after_set) / 1'000'000));
      EXPECT_LE(event->age_ms(), static_cast<std::uint64_t>((monotonic_ns() - before_set) / 1'000'000) + kCoarseMs);
      EXPECT_EQ(event->origin_role(), Role::sweep);
    }
    world.drain();
  }
  EXPECT_EQ(seen, value);
}

TEST(Eviction, WhatHasExpiredGoesAsExpiredEvenWhenItGoesForRoom) {
  World world{sized(kSegmentBytesMin), event_bit(EventKind::evict) | event_bit(EventKind::expire)};
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.cache().set(key_of("due", i), std::string(700, 'd'), {.ttl = 1ms}));
  const TimeNs due = monotonic_ns() + 2'000'000;
  while (monotonic_ns() < due) {
  }
  int expired = 0;
  const EventReader reader = world.keeper().reader();
  for (int i = 0; i < 3000; ++i) {  // nobody calls expire_due()
    ASSERT_TRUE(world.cache().set(key_of("k", i), std::string(700, 'v')));
    static_cast<void>(world.keeper().evict(100));
    for (std::uint64_t p = reader.head();; ++p) {
      const auto event = reader.at(EventSeq{p});
      if (!event) break;
      if (!event->key.starts_with("due")) continue;
      EXPECT_EQ(event->kind, EventKind::expire) << event->key;
      ++expired;
    }
    world.drain();
  }
  EXPECT_EQ(expired, 100);
}

TEST(Eviction, WithoutASupervisorWritersMakeRoomThemselves) {
  TempSegment segment{sized(2 << 20)};
  Cache cache = segment.client();
  for (int i = 0; i < 20000; ++i) ASSERT_TRUE(cache.set(key_of("k", i), std::string(200, 'v')));
  EXPECT_GT(segment_info(cache)->totals.waited_for_room, 100u);
  EXPECT_EQ(findings(cache), "");
}

TEST(Eviction, PolicyNoneRefusesAndEvictsNothing) {
  TempSegment segment{sized(kSegmentBytesMin, EvictionPolicy::none)};
  Cache cache = segment.client();
  Errc last = Errc::ok;
  for (int i = 0; i < 20000 && last == Errc::ok; ++i) {
    last = cache.set(key_of("k", i), std::string(200, 'v')).code();
    EXPECT_EQ(segment.keeper().evict(100), 0u);
  }
  EXPECT_EQ(last, Errc::no_space);
  EXPECT_TRUE(cache.get("k0"));
}

TEST(Eviction, LruKeepsWhatWasReadLately) {
  TempSegment segment{sized(2 << 20, EvictionPolicy::lru)};
  Cache cache = segment.client();
  const std::string value(600, 'v');
  const auto store = [&](const char* stem, int from, int to) {
    for (int i = from; i < to; ++i) {
      ASSERT_TRUE(cache.set(key_of(stem, i), value));
      static_cast<void>(segment.keeper().evict(100));
    }
  };
  store("k", 0, 1200);
  store("fill", 0, 400);
  for (int i = 0; i < 600; ++i) ASSERT_TRUE(cache.get(key_of("k", i * 2)));
  const std::uint64_t room = segment_info(cache)->keys;
  store("new", 0, static_cast<int>(room) - 900);
  int read = 0;
  int unread = 0;
  for (int i = 0; i < 1200; ++i) (i % 2 == 0 ? read : unread) += *cache.contains(key_of("k", i)) ? 1 : 0;
  EXPECT_GT(read, 590);
  EXPECT_LT(unread, read);
}

TEST(Eviction, CostPolicyKeepsTheDearLonger) {
  const auto dear_share = [](EvictionPolicy policy) {
    TempSegment segment{sized(2 << 20, policy)};
    Cache cache = segment.client();
    std::mt19937 random{11};
    for (int i = 0; i < 30000; ++i) {
      const int k = static_cast<int>(random() % 6000);
      if (cache.get(key_of("k", k))) continue;
      static_cast<void>(cache.set(key_of("k", k), std::string(500, 'v'), {.cost = k % 4 == 0 ? 100.0 : 1.0}));
      static_cast<void>(segment.keeper().evict(100));
    }
    int dear = 0;
    int all = 0;
    for (int k = 0; k < 6000; ++k) {
      if (!*cache.contains(key_of("k", k))) continue;
      ++all;
      dear += k % 4 == 0 ? 1 : 0;
    }
    return static_cast<double>(dear) / all;
  };
  const double balanced = dear_share(EvictionPolicy::balanced);
  EXPECT_NEAR(balanced, 0.25, 0.05);  // it does not look at cost
  EXPECT_GT(dear_share(EvictionPolicy::cost), 1.4 * balanced);
}

TEST(Eviction, AKeyThatComesBackIsRemembered) {
  TempSegment segment{sized(kSegmentBytesMin)};
  Cache cache = segment.client();
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 1500; ++i) {
      if (cache.get(key_of("k", i))) continue;
      ASSERT_TRUE(cache.set(key_of("k", i), std::string(600, 'v')));
      static_cast<void>(segment.keeper().evict(100));
    }
  }
  const auto totals = segment_info(cache)->totals;
  EXPECT_GT(totals.evicted, 500u);
  EXPECT_GT(totals.returned, 300u);
  EXPECT_NEAR(totals.evicted_cost, static_cast<double>(totals.evicted) * kCostDefault, 0.5);
}

TEST(Eviction, CostsOfWhatWentAddUpHoweverSmallOrLarge) {
  for (const double cost : {0.0004, 2.5, 1e12, 1e200}) {
    TempSegment segment{sized(kSegmentBytesMin)};
    {
      Cache writer = segment.client();  // makes its room itself, and leaves
      for (int i = 0; i < 3000; ++i) ASSERT_TRUE(writer.set(key_of("k", i), std::string(600, 'v'), {.cost = cost}));
    }
    Cache cache = segment.client();
    const auto totals = segment_info(cache)->totals;
    EXPECT_GT(totals.evicted, 1000u);
    EXPECT_NEAR(totals.evicted_cost / (cost * static_cast<double>(totals.evicted)), 1, 1e-9) << cost;
  }
}

TEST(Eviction, TheMinuteHoldsWhatABurstCostForSixtySecondsAndNoLonger) {
  using namespace std::chrono_literals;
  TempSegment segment{sized(kSegmentBytesMin)};
  Cache cache = segment.client();
  const TimeNs start = base::now_ns();
  const auto figure_at = [&](std::chrono::milliseconds later) {
    segment.keeper().heartbeat(start + std::chrono::nanoseconds{later}.count());
    return segment_info(cache)->evicted_cost_minute;
  };
  EXPECT_EQ(figure_at(0s), 0.0);
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(cache.set(key_of("k", i), std::string(600, 'v'), {.cost = 2.5}));
  const auto totals = segment_info(cache)->totals;
  ASSERT_GT(totals.evicted, 1000u);
  const double burst = 2.5 * static_cast<double>(totals.evicted);
  EXPECT_NEAR(segment_info(cache)->evicted_cost_minute, burst, 0.5) << "at once";
  for (int ms = 50; ms < 59'000; ms += 50) ASSERT_NEAR(figure_at(std::chrono::milliseconds{ms}), burst, 0.5) << ms;
  {
    Cache leaver = segment.client();  // its counts go to those of the gone
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(leaver.set(key_of("m", i), std::string(600, 'v'), {.cost = 1}));
  }
  const double after = segment_info(cache)->totals.evicted_cost - totals.evicted_cost;
  ASSERT_GT(after, 0.0);
  EXPECT_NEAR(figure_at(59s), burst + after, 0.5);
  EXPECT_NEAR(figure_at(62s), after, 0.5) << "the burst is over a minute ago";
  for (int seconds = 63; seconds < 118; ++seconds) ASSERT_NEAR(figure_at(std::chrono::seconds{seconds}), after, 0.5);
  EXPECT_EQ(figure_at(122s), 0.0);
}

TEST(Eviction, ANewSupervisorCountsTheMinuteFromItsStart) {
  SegmentOptions options = sized(kSegmentBytesMin);
  options.name = unique_name("minute");
  double cost = 0;
  for (const bool warm : {false, true}) {
    auto keeper = Maintainer::create(options);
    ASSERT_TRUE(keeper);
    ASSERT_EQ(keeper->warm(), warm);
    EXPECT_EQ(segment_info(keeper->cache())->evicted_cost_minute, 0.0);
    auto cache = keeper->client(Role::client, "writer");
    ASSERT_TRUE(cache);
    for (int i = 0; i < 3000; ++i) ASSERT_TRUE(cache->set(key_of("k", i), std::string(600, 'v')));
    const auto info = segment_info(*cache);
    EXPECT_GT(info->evicted_cost_minute, 0.0);
    EXPECT_NEAR(info->evicted_cost_minute, info->totals.evicted_cost - cost, 0.5);
    cost = info->totals.evicted_cost;
  }
  ASSERT_TRUE(remove_segment(options.name));
}

TEST(Eviction, PagesThatAreNearlyEmptyAreVacatedAndNothingIsLost) {
  SegmentOptions options = sized(8 << 20);
  World world{options, kAllEvents};
  Cache& cache = world.cache();
  std::map<std::string, std::uint64_t> versions;
  int stored = 0;
  for (; stored % 20 != 0 || segment_info(cache)->pages_free > 1; ++stored) {
    const auto written = cache.set(key_of("k", stored), key_of("value", stored) + std::string(300, 'v'),
                                   {.ttl = stored % 2 == 0 ? std::optional<Ttl>{1h} : std::nullopt, .cost = stored + 1.0});
    ASSERT_TRUE(written);
    versions[key_of("k", stored)] = written->version;
    if (stored % 100 == 0) world.drain();
  }
  world.drain();
  for (int i = 0; i < stored; ++i) {
    if (i % 10 == 0) continue;
    ASSERT_TRUE(cache.erase(key_of("k", i)));
    versions.erase(key_of("k", i));
    if (i % 100 == 1) world.drain();
  }
  world.drain();
  const std::uint64_t evicted = segment_info(cache)->totals.evicted;
  const std::uint64_t events = world.history().events();
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(cache.set("again", std::string(300, 'a')));
    world.drain();
    static_cast<void>(world.keeper().evict(1000));
  }
  const auto info = segment_info(cache);
  EXPECT_GT(info->pages_free, 0u) << "no page was vacated";
  EXPECT_EQ(info->totals.evicted, evicted);
  EXPECT_EQ(world.history().events(), events + 400) << "a move is no event";
  for (const auto& [key, version] : versions) {
    const auto entry = cache.inspect(key);
    ASSERT_TRUE(entry) << key;
    const int i = std::stoi(key.substr(1));
    EXPECT_EQ(entry->value, key_of("value", i) + std::string(300, 'v'));
    EXPECT_EQ(entry->version, version);
    EXPECT_EQ(entry->cost, i + 1.0);
    EXPECT_EQ(entry->ttl.has_value(), i % 2 == 0);
  }
  EXPECT_EQ(world.damage(), "");
  EXPECT_EQ(world.disagreement(), "");
}

TEST(EvictionScore, FallsWithAgeAndSizeAndGrowsWithUseAndCost) {
  using layout::HeatWord;
  const auto score = [](std::uint32_t f, bool returned, unsigned cost, std::uint64_t hit, std::uint64_t birth, std::uint64_t bytes,
                        EvictionPolicy policy = EvictionPolicy::cost) {
    return shm::score_of(HeatWord::make(f, returned, cost, hit, birth), 100, bytes, policy);
  };
  const auto base = score(1, false, 16, 90, 80, 128);
  EXPECT_GT(score(2, false, 16, 90, 80, 128), base);
  EXPECT_GT(score(1, true, 16, 90, 80, 128), base);
  EXPECT_GT(score(1, false, 20, 90, 80, 128), base);
  EXPECT_GT(score(1, false, 16, 98, 80, 128), base);
  EXPECT_LT(score(1, false, 16, 90, 40, 128), base);
  EXPECT_LT(score(1, false, 16, 90, 80, 256), base);
  EXPECT_EQ(score(1, false, 20, 90, 80, 128, EvictionPolicy::balanced), score(1, false, 16, 90, 80, 128, EvictionPolicy::balanced));
  EXPECT_LT(score(31, true, 16, 89, 80, 64, EvictionPolicy::lru), score(0, false, 16, 90, 80, 4096, EvictionPolicy::lru));
}

TEST(EvictionScore, CostsHaveTheClassOfTheirOctave) {
  EXPECT_EQ(shm::cost_class_of(1), layout::HeatWord::kCostClassOne);
  EXPECT_EQ(shm::cost_class_of(8), layout::HeatWord::kCostClassOne + 3);
  EXPECT_EQ(shm::cost_class_of(0.25), layout::HeatWord::kCostClassOne - 2);
  for (const double cost : {1e5, 1e300, std::numeric_limits<double>::max(), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(shm::cost_class_of(cost), layout::HeatWord::kCostClasses - 1) << cost;
  }
  for (const double cost : {1e-300, 0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) EXPECT_EQ(shm::cost_class_of(cost), 0u) << cost;
}

TEST(EvictionScore, EpochsMayComeRound) {
  using layout::HeatWord;
  const std::uint64_t epoch = HeatWord::kEpochMask + 6;  // the counter is wider than the word's field
  const std::uint32_t w = HeatWord::make(3, false, 16, epoch - 9, epoch - 20);
  EXPECT_EQ(HeatWord::recency(w, epoch), 9u);
  EXPECT_NEAR(HeatWord::age(w, epoch), 20, 1);
  EXPECT_EQ(HeatWord::frequency(HeatWord::touched(w, epoch)), 4u);
  EXPECT_EQ(HeatWord::touched(HeatWord::touched(w, epoch), epoch), HeatWord::touched(w, epoch)) << "one store an epoch";
  const std::uint32_t old = shm::aged(HeatWord::make(20, true, 9, epoch - 1100, epoch - 1200), epoch);
  EXPECT_EQ(HeatWord::frequency(old), 10u);
  EXPECT_NEAR(HeatWord::age(old, epoch), 600, 2);
  EXPECT_EQ(HeatWord::cost_class(old), 9u);
}

TEST(ReuseSampler, AgreesWithAnExactLru) {
  shm::ReuseSampler sampler;
  sampler.set_threshold(static_cast<std::uint32_t>(layout::kSampleRange / 8));
  std::mt19937_64 random{5};
  constexpr std::uint64_t kKeys = 40000;
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> where;
  constexpr std::size_t kSizes[] = {1000, 5000, 20000};
  std::list<std::uint64_t> order[std::size(kSizes)];
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> in[std::size(kSizes)];
  std::uint64_t misses[std::size(kSizes)] = {};
  constexpr std::uint64_t kReads = 300000;
  for (std::uint64_t n = 0; n < kReads; ++n) {
    // Log-uniform ranks: every size matters.
    const auto rank = static_cast<std::uint64_t>(std::exp(static_cast<double>(random() >> 11) * 0x1.0p-53 * std::log(double{kKeys})));
    std::uint64_t hash = rank * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    hash ^= hash >> 32;
    sampler.take(hash);
    sampler.note_reads(1);
    for (std::size_t s = 0; s < std::size(kSizes); ++s) {
      if (const auto at = in[s].find(rank); at != in[s].end()) {
        order[s].erase(at->second);
      } else {
        ++misses[s];
        if (order[s].size() == kSizes[s]) {
          in[s].erase(order[s].back());
          order[s].pop_back();
        }
      }
      order[s].push_front(rank);
      in[s][rank] = order[s].begin();
    }
  }
  for (std::size_t s = 0; s < std::size(kSizes); ++s) {
    EXPECT_NEAR(sampler.miss_ratio(static_cast<double>(kSizes[s])), static_cast<double>(misses[s]) / kReads, 0.03) << kSizes[s];
  }
}

TEST(ReuseSampler, ABurstOfReadsDoesNotShrinkTheSampleForEver) {
  TempSegment segment{sized(2 << 20)};
  Cache cache = segment.client();
  shm::ReuseSampler sampler;
  const shm::View& view = cache.handle()->view();
  sampler.collect(view);
  const std::uint32_t began = sampler.threshold();
  for (int burst = 0; burst < 8; ++burst) {
    for (int i = 0; i < 10000; ++i) static_cast<void>(cache.get(key_of("k", i)));
    sampler.collect(view);
  }
  EXPECT_LE(sampler.threshold(), began / 8);
  for (int i = 0; i < 100000 && sampler.threshold() < began; ++i) sampler.collect(view);
  EXPECT_EQ(sampler.threshold(), began);
}

TEST(ReuseSampler, TheSegmentSaysWhatMoreMemoryWouldBring) {
  TempSegment segment{sized(2 << 20, EvictionPolicy::lru)};
  Cache cache = segment.client();
  std::mt19937_64 random{6};
  for (int i = 0; i < 60000; ++i) {
    const auto rank = static_cast<int>(std::exp(static_cast<double>(random() >> 11) * 0x1.0p-53 * std::log(12000.0)));
    if (!cache.get(key_of("k", rank))) {
      ASSERT_TRUE(cache.set(key_of("k", rank), std::string(600, 'v')));
    }
    static_cast<void>(segment.keeper().evict(100));
    if (i % 16 == 0) segment.keeper().estimate();
  }
  const auto info = segment_info(cache);
  const auto& ratios = info->miss_ratios;
  EXPECT_NEAR(ratios[1], static_cast<double>(info->totals.misses) / static_cast<double>(info->totals.misses + info->totals.hits), 0.1);
  EXPECT_GT(ratios[0], ratios[1] + 0.02);
  EXPECT_LT(ratios[2], ratios[1] - 0.02);
  EXPECT_LT(ratios[3], ratios[2]);
}

}  // namespace
}  // namespace cachee::test
