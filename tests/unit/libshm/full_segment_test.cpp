// Goal: a full segment and a full ring give a defined answer within a bound, never a hang: eviction,
// or no_space where nothing may go; full where an event has no room, with nothing applied.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerWithin = 20s;  // far above the second that a write may wait for memory

SegmentOptions small(EvictionPolicy eviction) {
  SegmentOptions options;
  options.memory_bytes = kSegmentBytesMin;
  options.ring_events = 256;
  options.clients_max = 12;
  options.page_bytes = 4096;
  options.eviction = eviction;
  return options;
}

TriggerTable wants(EventMask events) {
  TriggerTable table;
  table.triggers.push_back({.name = "all", .pattern = "*", .events = events, .source = "return", .block_ms = 1});
  return table;
}

/// Sets keys until one is refused; returns how many were stored.
int fill(Cache& cache, std::size_t value_bytes, Errc& last, int keys_max = 100000) {
  last = Errc::ok;
  for (int i = 0; i < keys_max; ++i) {
    const auto written = cache.set("fill:" + std::to_string(value_bytes) + ":" + std::to_string(i), std::string(value_bytes, 'f'));
    if (written) continue;
    last = written.code();
    return i;
  }
  return keys_max;
}

class Timed {
 public:
  ~Timed() { EXPECT_LT(std::chrono::steady_clock::now() - began_, kAnswerWithin); }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

std::uint64_t release_all(Maintainer& keeper) {
  const EventReader reader = keeper.reader();
  std::uint64_t end = reader.head();
  while (reader.at(EventSeq{end})) keeper.acknowledge(EventSeq{end++});
  const std::uint64_t n = end - reader.head();
  const Maintainer::Delta delta{0, {.emitted = n, .acknowledged = n}};
  keeper.release_through(end, {&delta, 1});
  return n;
}

TEST(Full, WithoutEvictionEverySizeSaysNoSpaceAndWhatIsThereStays) {
  TempSegment segment{small(EvictionPolicy::none)};
  Cache cache = segment.client();
  const Timed timed;
  Errc last;
  const int stored = fill(cache, 1000, last);
  EXPECT_EQ(last, Errc::no_space);
  ASSERT_GT(stored, 100);
  for (const std::size_t bytes : {100u, 2000u, 30000u}) {
    fill(cache, bytes, last, 2000);
    EXPECT_EQ(last, Errc::no_space) << bytes;
  }
  for (int i = 0; i < stored; ++i) ASSERT_TRUE(cache.contains("fill:1000:" + std::to_string(i)).value_or(false)) << i;
  EXPECT_TRUE(cache.erase("fill:1000:0"));
  EXPECT_TRUE(cache.set("fill:1000:x", std::string(1000, 'x'))) << "what was freed can be used for its size";
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, OneSizeClassThatIsExhaustedTakesPagesOfTheOthers) {
  TempSegment segment{small(EvictionPolicy::balanced)};
  Cache cache = segment.client();
  const Timed timed;
  Errc last;
  fill(cache, 100, last, 20000);  // evicts its own class as it goes
  ASSERT_EQ(last, Errc::ok);
  for (const std::size_t bytes : {1900u, 300u, 20000u}) {
    fill(cache, bytes, last, 300);
    EXPECT_EQ(last, Errc::ok) << bytes;
  }
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, OfPinnedValuesSaysNoSpaceUntilTheyAreLetGo) {
  TempSegment segment{small(EvictionPolicy::balanced)};
  Cache cache = segment.client();
  const Timed timed;
  // Values of a quarter of the memory each: eight pins of one thread hold all there is.
  const std::uint64_t data = segment_info(cache)->data_bytes;
  const std::size_t bytes = data / 5;
  std::vector<PinnedValue> pins;
  Errc last = Errc::ok;
  for (int i = 0; i < 8 && last == Errc::ok; ++i) {
    const std::string key = "pinned" + std::to_string(i);
    last = cache.set(key, std::string(bytes, static_cast<char>('a' + i))).code();
    if (last != Errc::ok) break;
    auto view = cache.view(key);
    ASSERT_TRUE(view);
    ASSERT_TRUE(view->in_place());
    pins.push_back(std::move(*view));
  }
  EXPECT_EQ(last, Errc::no_space);
  ASSERT_GE(pins.size(), 3u);
  for (std::size_t i = 0; i < pins.size(); ++i) {  // [HP-2]
    EXPECT_EQ(pins[i].bytes(), ValueView{std::string(bytes, static_cast<char>('a' + i))}) << "evicted or not, it reads as before";
  }
  EXPECT_TRUE(cache.set("small", "one")) << "what is not pinned is still there to be had";
  pins.clear();
  EXPECT_TRUE(cache.set("large", std::string(bytes, 'x')));
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, OfEventsThatHoldMemorySaysNoSpaceUntilTheyAreReleased) {
  TempSegment segment{small(EvictionPolicy::balanced)};
  ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::write) | event_bit(EventKind::evict)), 1s));
  Cache cache = segment.client();
  const Timed timed;
  Errc last;
  const int stored = fill(cache, 20000, last, 500);
  EXPECT_EQ(last, Errc::no_space) << stored << " were stored";
  ASSERT_GT(release_all(segment.keeper()), 0u);
  fill(cache, 20000, last, 5);
  EXPECT_EQ(last, Errc::ok) << "released events give their memory back";
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, RingTakesATableThatWantsNothingNew) {  // [RG-6]
  TempSegment segment{small(EvictionPolicy::balanced)};
  Maintainer& keeper = segment.keeper();
  const EventMask write = event_bit(EventKind::write);
  const TriggerTable full = wants(write | event_bit(EventKind::del));
  ASSERT_TRUE(keeper.publish_triggers(full, 1s));
  Cache cache = segment.client();
  Errc last;
  fill(cache, 10, last, 1000);
  ASSERT_EQ(last, Errc::full);
  TriggerTable more = full;
  more.triggers[0].events |= event_bit(EventKind::read);
  EXPECT_FALSE(keeper.can_publish(more));
  EXPECT_EQ(keeper.publish_triggers(more, 0ms).code(), Errc::timed_out);
  more.triggers[0].enabled = false;
  EXPECT_TRUE(keeper.publish_triggers(more, 0ms)) << "nobody wants anything";
  EXPECT_TRUE(cache.set("free", "v"));
  EXPECT_FALSE(keeper.can_publish(full)) << "wanted once is not wanted now";
  more.triggers[0].paused = true;
  EXPECT_TRUE(keeper.publish_triggers(more, 0ms));
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, AnEventPinsTheBlocksOfItsRecords) {
  TempSegment segment{{.memory_bytes = 64 << 20}};
  ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::write)), 1s));
  Cache cache = segment.client();
  const EventReader reader = segment.keeper().reader();
  const auto used = [&] { return segment_info(cache)->used_bytes; };
  struct Write {
    const char* what;
    std::size_t value_bytes, metadata_bytes;
  };
  for (const auto& [what, value_bytes, metadata_bytes] :
       {Write{"small", 10, 0}, Write{"metadata", 1, 60000}, Write{"half a page", 33000, 0}, Write{"pages", 300'000, 100}}) {
    const SetOptions options{.metadata = {{"f", std::string(metadata_bytes, 'm')}}};
    const std::uint64_t before = used();
    const auto first = cache.set(what, std::string(value_bytes, 'v'), options);
    ASSERT_TRUE(first && first->event) << what;
    const std::uint64_t block = used() - before;
    EXPECT_GE(block, value_bytes + metadata_bytes) << what;
    EXPECT_EQ(reader.pinned_bytes(*first->event), block) << what;
    const auto second = cache.set(what, std::string(value_bytes, 'w'), options);
    ASSERT_TRUE(second && second->event) << what;
    EXPECT_EQ(used() - before, 2 * block) << what << ": the event keeps the value that was replaced";
    EXPECT_EQ(reader.pinned_bytes(*second->event), 2 * block) << what;
  }
}

TEST(Full, RingRefusesWritesWithNothingApplied) {  // [RG-6]
  TempSegment segment{small(EvictionPolicy::balanced)};
  ASSERT_TRUE(segment.keeper().publish_triggers(wants(0x1e), 1s));
  Cache cache = segment.client();
  const Timed timed;
  Errc last;
  const int stored = fill(cache, 10, last, 1000);
  EXPECT_EQ(last, Errc::full);
  // Room stays for what every client may owe already.
  const RingInfo ring = segment_info(cache)->ring;
  EXPECT_EQ(static_cast<std::uint64_t>(stored), ring.admission_limit);
  EXPECT_LT(ring.tail - ring.head, ring.capacity - 2 * 12);
  EXPECT_EQ(cache.get("fill:10:" + std::to_string(stored)).code(), Errc::not_found);
  EXPECT_EQ(cache.set("fill:10:0", "other").code(), Errc::full);
  EXPECT_EQ(cache.get("fill:10:0")->bytes, std::string(10, 'f'));
  EXPECT_EQ(cache.erase("fill:10:0").code(), Errc::full);
  EXPECT_EQ(cache.erase("none").code(), Errc::not_found) << "a miss owes nothing";
  EXPECT_TRUE(cache.touch("fill:10:0", 1h)) << "makes no event";
  ASSERT_EQ(release_all(segment.keeper()), static_cast<std::uint64_t>(stored));
  EXPECT_TRUE(cache.set("fill:10:0", "other"));
  EXPECT_EQ(findings(cache), "");
}

TEST(Full, NothingIsEvictedWhoseEventHasNoRoom) {  // [EV-3]
  TempSegment segment{small(EvictionPolicy::balanced)};
  Cache cache = segment.client();
  const Timed timed;
  Errc last;
  fill(cache, 1000, last, 100);
  ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::evict) | event_bit(EventKind::write)), 1s));
  Cache other = segment.client("other");
  for (int i = 0; i < 1000 && last == Errc::ok; ++i) last = other.set("w", std::to_string(i)).code();
  ASSERT_EQ(last, Errc::full);
  // Handlers and sweeps have a share of their own; it is used up, too.
  auto handler = segment.keeper().client(Role::trigger, "handler");
  ASSERT_TRUE(handler);
  last = Errc::ok;
  for (int i = 0; i < 1000 && last == Errc::ok; ++i) last = handler->set("w", std::to_string(i)).code();
  ASSERT_EQ(last, Errc::full);
  const std::uint64_t before = *cache.size();
  for (int i = 0; i < 20; ++i) static_cast<void>(segment.keeper().evict(1000));
  EXPECT_EQ(cache.set("more", std::string(20000, 'm')).code(), Errc::full);
  EXPECT_EQ(*cache.size(), before);
  EXPECT_EQ(segment_info(cache)->totals.evicted, 0u);
}

TEST(Full, WhatHasExpiredIsNotEvictedButExpires) {  // [EV-2]
  TempSegment segment{small(EvictionPolicy::balanced)};
  Cache cache = segment.client();
  const Timed timed;
  Errc last = Errc::ok;
  int stored = 0;
  // Until the first one goes.
  for (; segment_info(cache)->totals.expired == 0 && stored < 5000 && last == Errc::ok; ++stored) {
    last = cache.set("short" + std::to_string(stored), std::string(500, 's'), {.ttl = 1ns}).code();
  }
  EXPECT_EQ(last, Errc::ok);
  ASSERT_LT(stored, 5000);
  const auto totals = segment_info(cache)->totals;
  EXPECT_GT(totals.expired, 0u);
  EXPECT_EQ(totals.evicted, 0u);
}

TEST(Full, ThreadsThatAllWantMemoryAllGetAnAnswer) {
  TempSegment segment{small(EvictionPolicy::balanced)};
  const Timed timed;
  std::vector<std::thread> writers;
  std::atomic<int> refused{0};
  for (int t = 0; t < 4; ++t) {
    writers.emplace_back([&, t] {
      Cache cache = segment.client();
      for (int i = 0; i < 300; ++i) {
        const auto written = cache.set(std::to_string(t) + ":" + std::to_string(i), std::string(static_cast<std::size_t>(i % 7) * 900, 'x'));
        if (!written && written.code() != Errc::no_space) ADD_FAILURE() << to_string(written.error());
        refused += written ? 0 : 1;
      }
    });
  }
  for (auto& w : writers) w.join();
  EXPECT_LT(refused, 300) << "eviction makes room for most";
  EXPECT_EQ(findings(segment.client()), "");
}

// A read is an effect, too, where a trigger wants ON_READ.

struct Reading {
  const char* name;
  std::function<Errc(Cache&)> read;
};
const Reading kReadings[] = {
    {"get", [](Cache& c) { return c.get("k").code(); }},
    {"get_into", [](Cache& c) {
       char out[64];
       return c.get_into("k", out).code();
     }},
    {"get_many", [](Cache& c) {
       const KeyView keys[] = {"k"};
       return c.get_many(keys, [](std::size_t, std::optional<ValueView>) {}).code();
     }},
    {"view", [](Cache& c) { return c.view("k").code(); }},
};

TEST(FullSegment, AReadWhoseEventFindsNoRoomInTheRingFails) {
  for (const Reading& reading : kReadings) {
    SCOPED_TRACE(reading.name);
    Timed timed;
    TempSegment segment{small(EvictionPolicy::balanced)};
    Cache cache = segment.client();
    ASSERT_TRUE(cache.set("k", "v"));
    ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::read)), 1s));
    std::uint64_t told = 0;
    Errc last = Errc::ok;
    while (told < 1000 && (last = reading.read(cache)) == Errc::ok) ++told;
    EXPECT_EQ(last, Errc::full);
    const EventReader reader = segment.keeper().reader();
    EXPECT_EQ(reader.tail() - reader.head(), told) << "one event for each read that succeeded, none for the one that did not";
    release_all(segment.keeper());
    EXPECT_EQ(reading.read(cache), Errc::ok);
    EXPECT_EQ(reader.tail() - reader.head(), 1u);
    EXPECT_EQ(findings(cache), "");
  }
}

TEST(FullSegment, AReadWhoseEventFindsNoMemoryFails) {
  for (const Reading& reading : kReadings) {
    SCOPED_TRACE(reading.name);
    Timed timed;
    TempSegment segment{small(EvictionPolicy::none)};
    Cache cache = segment.client();
    ASSERT_TRUE(cache.set("k", std::string(60, 'v')));
    ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::read)), 1s));
    Errc last = Errc::ok;
    fill(cache, 60, last);
    ASSERT_EQ(last, Errc::no_space);
    // What this thread has freed and keeps may serve some more.
    std::uint64_t told = 0;
    while (told < 200 && (last = reading.read(cache)) == Errc::ok) ++told;
    EXPECT_EQ(last, Errc::no_space);
    const EventReader reader = segment.keeper().reader();
    EXPECT_EQ(reader.tail() - reader.head(), told);
    EXPECT_EQ(findings(cache), "");
  }
}

TEST(FullSegment, AReadThatNobodyWantsToHearOfIsNotAskedForRoom) {
  TempSegment segment{small(EvictionPolicy::balanced)};
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  ASSERT_TRUE(segment.keeper().publish_triggers(wants(event_bit(EventKind::write)), 1s));
  Errc last = Errc::ok;
  fill(cache, 10, last, 1000);
  ASSERT_EQ(last, Errc::full);
  for (const Reading& reading : kReadings) EXPECT_EQ(reading.read(cache), Errc::ok) << reading.name;
}

}  // namespace
}  // namespace cachee::test
