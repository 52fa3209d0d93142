// Goal: invariants that no look at the bytes can show, by what they promise.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <random>
#include <thread>

#include <csignal>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.hpp"
#include "support/segment_bytes.hpp"
#include "support/temp_segment.hpp"
#include "triggers/triggers.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

TEST(Eviction, AReaderStoresIntoEvictionWordsAndItsOwnSlotOnly) {  // [EV-1]
  TempSegment segment;
  Cache cache = segment.client();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'v')));
  const SegmentBytes bytes{segment.name()};
  const shm::View& view = bytes.view();
  const auto read_all = [&] {
    char buffer[512];
    for (int i = 0; i < 600; ++i) {
      static_cast<void>(cache.get("k" + std::to_string(i)));
      static_cast<void>(cache.get_into("k" + std::to_string(i), buffer));
    }
  };
  view.header->evict_epoch.store_relaxed(view.header->evict_epoch.load_relaxed() + 1);  // so that every hit has something to store
  const std::size_t words = view.shape.segment_bytes / 8;
  const auto* const first = reinterpret_cast<const mem::Word*>(view.base);
  std::vector<std::uint64_t> before(words);
  for (std::size_t w = 0; w < words; ++w) before[w] = first[w].load_relaxed();
  read_all();
  const auto regions = layout::compute_regions(view.shape);
  const auto inside = [&](std::size_t w, layout::Region region) {
    return w * 8 >= regions[region].offset && w * 8 < regions[region].offset + regions[region].bytes;
  };
  std::size_t heat = 0;
  std::size_t stats = 0;
  for (std::size_t w = 0; w < words; ++w) {
    if (first[w].load_relaxed() == before[w]) continue;
    if (inside(w, layout::kRegionHeat)) {
      ++heat;
      continue;
    }
    ASSERT_TRUE(inside(w, layout::kRegionClients)) << "a read changed the byte at " << w * 8;
    const std::size_t field = (w * 8 - regions[layout::kRegionClients].offset) % sizeof(layout::Client);
    ASSERT_GE(field, offsetof(layout::Client, stats)) << "a read left something in a client's intent";
    ++stats;
  }
  EXPECT_GT(heat, 0u);
  EXPECT_GT(stats, 0u);
}

/// Reads every key twice in a child, the second time with a heat region that nobody may write; `between` comes
/// between. Returns how the child ended.
template <class Between>
int read_twice(const std::string& name, int keys, Between&& between) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would make an exit of it
    const auto cache = Cache::open({.name = name, .client_name = "reader"});
    if (!cache) _exit(1);
    const auto read_all = [&] {
      char buffer[512];
      for (int i = 0; i < keys; ++i) {
        if (!cache->get("k" + std::to_string(i)) || !cache->get_into("k" + std::to_string(i), buffer)) _exit(2);
      }
    };
    read_all();
    const shm::View& view = cache->handle()->view();
    between(view);
    const auto region = layout::compute_regions(view.shape)[layout::kRegionHeat];
    constexpr std::uint64_t kPage = 4096;
    const std::uint64_t from = base::align_up(region.offset, kPage);  // whole pages of it
    const std::uint64_t to = (region.offset + region.bytes) / kPage * kPage;
    if (to <= from || mprotect(view.base + from, to - from, PROT_READ) != 0) _exit(3);
    read_all();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Eviction, AHitOfTheSameEpochStoresNothing) {  // [EV-1]
  TempSegment segment;
  Cache cache = segment.client();
  constexpr int kKeys = 500;
  for (int i = 0; i < kKeys; ++i) ASSERT_TRUE(cache.set("k" + std::to_string(i), "v"));
  EXPECT_EQ(read_twice(segment.name(), kKeys, [](const shm::View&) {}), 0);
  // In the next epoch every hit stores, so the pages were indeed those of the words.
  const int status = read_twice(segment.name(), kKeys, [](const shm::View& view) {
    view.header->evict_epoch.store_relaxed(view.header->evict_epoch.load_relaxed() + 1);
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
}

TEST(Eviction, LooksAtAKeyAreNoUseOfIt) {
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v", {.ttl = 1h}));
  auto& header = *cache.handle()->view().header;
  header.sample_below.store_relaxed(std::numeric_limits<std::uint32_t>::max());  // every key is of the sample
  header.evict_epoch.store_relaxed(header.evict_epoch.load_relaxed() + 1);       // so that a use has something to store
  const auto& stats = (*cache.handle()->context())->me->stats;
  const auto sampled = [&] { return stats[layout::kSampled].load_relaxed(); };
  const std::uint64_t before = sampled();
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(*cache.contains("k"));
    EXPECT_FALSE(*cache.contains("absent"));
    EXPECT_TRUE(cache.ttl("k"));
    EXPECT_EQ(cache.inspect("k")->value, "v");
    EXPECT_EQ(cache.peek("k")->hits, 0u);
  }
  EXPECT_EQ(sampled(), before);
  // contains() and ttl() are counted, the others are not.
  EXPECT_EQ(stats[layout::kHits].load_relaxed(), 200u);
  EXPECT_EQ(stats[layout::kMisses].load_relaxed(), 100u);
  ASSERT_TRUE(cache.get("k"));
  EXPECT_EQ(cache.peek("k")->hits, 1u);
  EXPECT_EQ(sampled(), before + 1);
}

TEST(Eviction, UsesAreCountedOncePerEpochAndAnOverwriteKeepsThem) {  // Peek::hits, event.hits
  TempSegment segment;
  Cache cache = segment.client();
  auto& epoch = cache.handle()->view().header->evict_epoch;
  const auto next_epoch = [&] { epoch.store_relaxed(epoch.load_relaxed() + 1); };
  ASSERT_TRUE(cache.set("k", "v"));
  for (std::uint32_t used = 1; used <= 40; ++used) {
    next_epoch();
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cache.get("k"));
    EXPECT_EQ(cache.peek("k")->hits, std::min(used, 31u));
  }
  ASSERT_TRUE(cache.erase("k"));
  ASSERT_TRUE(cache.set("k", "v"));
  EXPECT_EQ(cache.peek("k")->hits, 0u) << "another key of the same name";
  next_epoch();
  ASSERT_TRUE(cache.get("k"));
  next_epoch();
  ASSERT_TRUE(cache.set("k", "w"));
  EXPECT_EQ(cache.peek("k")->hits, 2u) << "an overwrite is a use, and forgets none";
}

TEST(Eviction, AnyHeatAndAnyGhostIsSafe) {  // [EV-4]
  TempSegment segment;
  Cache cache = segment.client();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'v')));
  const SegmentBytes bytes{segment.name()};
  const shm::View& view = bytes.view();
  const auto regions = layout::compute_regions(view.shape);
  std::uint64_t random = 1;
  for (const layout::Region region : {layout::kRegionHeat, layout::kRegionGhost}) {
    auto* const first = reinterpret_cast<mem::Word*>(view.base + regions[region].offset);
    for (std::size_t w = 0; w < regions[region].bytes / 8; ++w) first[w].store_relaxed(random = random * 6364136223846793005u + 1442695040888963407u);
  }
  view.header->ghost_used.store_relaxed(1);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(cache.get("k" + std::to_string(i))->bytes.size(), static_cast<std::size_t>(i));
  // Far more than there is room for: what goes is chosen by these words, and comes back into them.
  for (int i = 0; i < 12000; ++i) {
    ASSERT_TRUE(cache.set("n" + std::to_string(i), std::string(1000, 'n')));
    if (i % 100 == 0) static_cast<void>(segment.keeper().evict(1000));
  }
  EXPECT_GT(segment_info(cache)->totals.evicted, 0u);
  const auto report = fsck(segment.keeper().cache());
  ASSERT_TRUE(report);
  for (const auto& f : report->findings) ADD_FAILURE() << f.invariant << " " << f.text;
}

TEST(Expiry, WhoeverSawAKeyExpiredIsNotContradictedByATouch) {  // [KS-5]
  TempSegment segment;
  std::atomic<bool> gone{false};
  for (int round = 0; round < 60; ++round) {
    Cache cache = segment.client();
    const std::string key = "k" + std::to_string(round);
    ASSERT_TRUE(cache.set(key, "v", {.ttl = 2ms}));
    gone = false;
    // Touches race with the deadline: each puts it off, or comes too late for ever.
    std::thread toucher{[&] {
      Cache own = segment.client();
      for (int i = 0; i < 400; ++i) {
        const bool seen_gone = gone;
        const auto touched = own.touch(key, 1ms);
        if (seen_gone) {
          ASSERT_EQ(touched.code(), Errc::not_found) << "round " << round;
        }
        if (!touched) break;
      }
    }};
    while (cache.get(key).code() != Errc::not_found) {
    }
    gone = true;
    toucher.join();
    EXPECT_EQ(cache.touch(key, 1h).code(), Errc::not_found);
  }
  EXPECT_EQ(findings(segment.client()), "");
}

TEST(Triggers, OneSupervisorPublishes) {  // [TR-2]
  TempSegment segment;
  const pid_t child = fork();
  if (child == 0) {
    const auto second = Maintainer::create({.name = segment.name(), .memory_bytes = 8 << 20});
    _exit(second.code() == Errc::busy && second.error().detail == static_cast<std::uint64_t>(getppid()) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Triggers, AMatchIsDecidedByOneTableWhileTablesChange) {  // [TR-3]
  // Two tables in turn; of neither does a part fit a part of the other.
  TempSegment segment;
  const auto table_of = [](EventKind kind) {
    TriggerTable table;
    for (const char* pattern : {"k*", "key:*", "key:1*"}) {
      table.triggers.push_back({.name = pattern, .pattern = pattern, .events = event_bit(kind), .source = std::string(200, 's')});
    }
    return table;
  };
  const TriggerTable tables[2] = {table_of(EventKind::write), table_of(EventKind::del)};
  const SegmentBytes bytes{segment.name()};
  ASSERT_TRUE(segment.keeper().publish_triggers(tables[1], 1s));  // generation 1, and odd ones from here on
  std::atomic<bool> stop{false};
  std::thread publisher{[&] {
    for (int i = 0; !stop; ++i) {
      if (!segment.keeper().publish_triggers(tables[i % 2], 1s)) break;
    }
  }};
  std::uint64_t generations = 0;
  std::uint64_t last = 0;
  for (int n = 0; n < 30000 || (generations < 50 && n < 3'000'000); ++n) {
    const shm::Interest interest = shm::match_triggers(bytes.view(), "key:12");
    const EventMask expected = event_bit(interest.generation() % 2 == 0 ? EventKind::write : EventKind::del);
    ASSERT_EQ(interest.wanted, expected) << "generation " << interest.generation();
    generations += interest.generation() != last ? 1 : 0;
    last = interest.generation();
  }
  stop = true;
  publisher.join();
  EXPECT_GE(generations, 50u);
}

TEST(Triggers, AMatchInTheTableIsThatOfEachPattern) {
  // Few letters and short patterns, so that prefixes, their filter and whole patterns agree, nearly agree and differ;
  // the last rounds have more lengths of prefixes than the table keeps.
  TempSegment segment;
  const SegmentBytes bytes{segment.name()};
  std::mt19937_64 random{23};
  const auto word_of = [&](std::size_t bytes_max, std::string_view letters) {
    std::string word(random() % (bytes_max + 1), ' ');
    for (char& c : word) c = letters[random() % letters.size()];
    return word;
  };
  std::uint64_t wanted = 0;
  std::uint64_t unwanted = 0;
  for (std::size_t round = 0; round < 60; ++round) {
    TriggerTable table;
    const std::size_t patterns = random() % 40;
    for (std::size_t i = 0; i < patterns; ++i) {
      const std::string pattern = std::string(round < 50 ? 0 : i * 3, 'a') + word_of(4, "ab") + word_of(3, "ab*?");
      if (pattern.empty()) continue;
      const std::string name = std::to_string(i);
      table.triggers.push_back({.name = name, .pattern = pattern, .events = static_cast<EventMask>(1u << (1 + random() % 5)),
                                .source = "return", .enabled = random() % 8 != 0});
      // What a trigger wanted once makes no events.
      for (std::uint64_t past = random() % 3; past > 0; --past) {
        table.triggers.back().past.push_back({word_of(4, "ab") + "*", static_cast<EventMask>(random() % 32), 3, round, round + past});
      }
    }
    ASSERT_TRUE(segment.keeper().publish_triggers(table, 1s));
    ASSERT_EQ(read_triggers(segment.keeper().cache())->triggers, table.triggers);
    for (int n = 0; n < 400; ++n) {
      const std::string key = std::string(round < 50 ? 0 : random() % 120, 'a') + word_of(8, "ab");
      EventMask expected = 0;
      for (const TriggerSpec& t : table.triggers) {
        if (t.enabled && glob_match(t.pattern, key)) expected |= t.events;
      }
      ASSERT_EQ(shm::match_triggers(bytes.view(), key).wanted, expected) << "key " << key << " round " << round;
      (expected != 0 ? wanted : unwanted) += 1;
    }
  }
  EXPECT_GT(wanted, 1000u);
  EXPECT_GT(unwanted, 1000u);
}

}  // namespace
}  // namespace cachee::test
