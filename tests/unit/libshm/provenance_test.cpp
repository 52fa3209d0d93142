// Goal: an event says what set it off: the operation that made it, never the one that had written its value.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr Provenance kHandler{7, 3, 2};
constexpr Provenance kNobody{};

class ProvenanceTest : public testing::Test {
 protected:
  ProvenanceTest() : segment_{options()}, cache_{segment_.client()} {
    TriggerTable table;
    TriggerSpec all;
    all.name = all.pattern = "p:*";
    for (const EventKind kind : {EventKind::write, EventKind::del, EventKind::expire, EventKind::evict, EventKind::read}) all.events |= event_bit(kind);
    all.source = "return";
    table.triggers.push_back(all);
    EXPECT_TRUE(segment_.keeper().publish_triggers(table, 1s));
  }
  static SegmentOptions options() {
    SegmentOptions small;
    small.memory_bytes = kSegmentBytesMin;
    small.clients_max = 12;
    small.page_bytes = 4096;
    return small;
  }
  void set_by_handler(KeyView key, std::optional<Ttl> ttl = {}, const std::string& value = "value") {
    ASSERT_TRUE(cache_.set(key, value, {.ttl = ttl, .provenance = kHandler}));
    expect_next(EventKind::write, kHandler);
  }
  bool has_next() { return segment_.keeper().reader().at(EventSeq{next_}).has_value(); }
  void expect_next(EventKind kind, const Provenance& from) {
    const auto event = segment_.keeper().reader().at(EventSeq{next_++});
    ASSERT_TRUE(event) << to_string(event.error());
    EXPECT_EQ(event->kind, kind) << to_string(event->kind);
    const Provenance got = event->provenance();
    EXPECT_EQ(got, from) << to_string(kind) << ": parent " << got.parent << ", chain " << got.chain << ", depth " << got.depth;
  }

  TempSegment segment_;
  Cache cache_;
  std::uint64_t next_ = 0;
};

TEST_F(ProvenanceTest, OfADeleteIsThatOfWhoeverDeletes) {
  set_by_handler("p:1");
  ASSERT_TRUE(cache_.erase("p:1"));
  expect_next(EventKind::del, kNobody);
  ASSERT_TRUE(cache_.set("p:2", "value"));
  expect_next(EventKind::write, kNobody);
  ASSERT_TRUE(cache_.erase("p:2", {.provenance = kHandler}));
  expect_next(EventKind::del, kHandler);
}

TEST_F(ProvenanceTest, OfAnExpiryIsNobodysWhoeverFindsIt) {
  set_by_handler("p:swept", 1ms);
  set_by_handler("p:replaced", 1ms);
  std::this_thread::sleep_for(5ms);
  ASSERT_TRUE(cache_.set("p:replaced", "new", {.provenance = kHandler}));
  expect_next(EventKind::expire, kNobody);
  expect_next(EventKind::write, kHandler);
  ASSERT_EQ(segment_.keeper().expire_due(std::chrono::steady_clock::now().time_since_epoch().count(), 10), 1u);
  expect_next(EventKind::expire, kNobody);
}

TEST_F(ProvenanceTest, OfAnEvictionIsNobodys) {
  set_by_handler("p:old", {}, std::string(1000, 'o'));  // of the size of what needs its room
  for (int i = 0; i < 100'000 && !has_next(); ++i) {
    ASSERT_TRUE(cache_.set("filler:" + std::to_string(i), std::string(1000, 'f')));
    static_cast<void>(segment_.keeper().evict(100));
  }
  expect_next(EventKind::evict, kNobody);
}

TEST_F(ProvenanceTest, OfAReadIsThatOfTheReader) {
  set_by_handler("p:read");
  ASSERT_TRUE(cache_.get("p:read"));
  expect_next(EventKind::read, kNobody);
}

}  // namespace
}  // namespace cachee::test
