// Goal: damages that once crashed, hung or swallowed memory get a plain answer, and damages of a live
// key's words the answers of libshm/README.md. Each test is one such damage, written into a small
// segment; mappings stand between guard pages.
#include <gtest/gtest.h>

#include <functional>

#include "index/index.hpp"
#include "record/record.hpp"
#include "support/guarded_map.hpp"
#include "support/segment_bytes.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;
using layout::CellWord;
using layout::Hdr;
using layout::PageWord;
using layout::RecordState;
using layout::Slot;
using shm::View;

SegmentOptions options() {
  SegmentOptions o;
  o.memory_bytes = kSegmentBytesMin;
  o.ring_events = 256;
  o.clients_max = 12;
  o.bucket_count = 1;
  o.page_bytes = 4096;
  return o;
}

/// A segment whose bytes are at hand.
struct Small {
  TempSegment segment{options()};
  SegmentBytes bytes{segment.name()};
  Cache cache = segment.client();
  const View& view() const { return bytes.view(); }
  mem::Word& slot_of(std::string_view key) const {
    shm::ChainWalk walk{view(), 0};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_relaxed();
      if (Slot::occupied(word) && shm::key_in_place(view(), Slot::Offset::get(word)) == key) return walk.slot();
    }
    throw std::runtime_error("no such key");
  }
  layout::Record& record_of(std::string_view key) const { return *view().record(Slot::Offset::get(slot_of(key).load_relaxed())); }
};

class DamagedSegment : public ::testing::Test {
 protected:
  Small small_;
  TempSegment& segment_ = small_.segment;
  Cache& cache_ = small_.cache;
  const View& view() const { return small_.view(); }
  mem::Word& slot_of(std::string_view key) const { return small_.slot_of(key); }
  static TriggerTable everything() {
    TriggerTable table;
    table.triggers.push_back({.name = "all", .pattern = "*", .events = 0x3e, .source = "return", .block_ms = 1});
    return table;
  }
};

TEST_F(DamagedSegment, ListingEventsEndsWhenNoCellIsOfThisLap) {
  for (std::uint64_t p = 0; p < 256; ++p) view().cell(p).word.store_relaxed(CellWord::empty(p + (std::uint64_t{256} << 40)));
  const auto events = list_events(cache_, 10);
  ASSERT_TRUE(events);
  EXPECT_TRUE(events->empty());
}

TEST_F(DamagedSegment, AJournalOverMoreThanTheRingIsNotRedone) {
  view().journal->end.store_relaxed(std::uint64_t{1} << 60);
  view().journal->valid.store_relaxed(1);
  segment_.keeper().release_through(std::uint64_t{1} << 59, {});
  EXPECT_EQ(view().header->ring_head.load_relaxed(), 0u);
  EXPECT_NE(findings(cache_).find("[RG-5]"), std::string::npos) << "it stays for fsck to name";
}

TEST_F(DamagedSegment, ARecoveryDoesNotFollowAnOldRecordOutOfTheData) {
  ASSERT_TRUE(cache_.set("k", "v"));
  const std::uint64_t unit = Slot::Offset::get(slot_of("k").load_relaxed());
  auto& dead = view().clients[9];
  dead.nw.store_relaxed(unit);
  dead.nw_uid.store_relaxed(Hdr::Uid::get(view().record(unit)->hdr.load_relaxed()));
  dead.old.store_relaxed((std::uint64_t{1} << 40) - 1);
  dead.old_valid.store_relaxed(1);
  dead.act.store_relaxed(1);
  view().header->clients_used.store_relaxed(10);
  dead.state.store_relaxed(layout::ClientState::make(layout::ClientState::kLive, 777, 0));
  EXPECT_EQ(segment_.keeper().reap(10), 1u);
  EXPECT_EQ(cache_.get("k")->bytes, "v");
  EXPECT_EQ(findings(cache_), "");
}

TEST_F(DamagedSegment, NothingIsBuiltInABlockThatASlotInvented) {
  ASSERT_TRUE(cache_.set("k", "v"));
  auto& slot = slot_of("k");
  const std::uint64_t word = slot.load_relaxed();
  const std::uint64_t hdr = view().record(Slot::Offset::get(word))->hdr.load_relaxed();
  // The last place where a record fits, in a page whose blocks are much larger.
  const std::uint64_t last = view().data_end - (sizeof(layout::Record) + 8) / layout::kOffsetUnit;
  layout::Record& invented = *view().record(last);
  invented.lens.store_relaxed(layout::Lens::Key::make(1));
  invented.payload()[0].store_relaxed('k');
  invented.hdr.store_relaxed(hdr);
  const unsigned size_class = layout::class_of(2000);
  view().pages[view().shape.page_count - 1].store_relaxed(PageWord::make(PageWord::kSlab, size_class, 0, 0));
  slot.store_relaxed(Slot::live(last, Slot::Tag::get(word)));
  ASSERT_TRUE(cache_.erase("k"));
  const std::string value(2000 - sizeof(layout::Record) - 8, 'v');
  // Enough of them that every block its thread keeps for the class is taken.
  for (int i = 0; i < 300; ++i) static_cast<void>(cache_.set("n" + std::to_string(i), value));
  ASSERT_GT(guarded_maps_made(), 0u);
}

TEST_F(DamagedSegment, AFullChainWithASlotThatNamesNothingGivesAnAnswer) {
  for (int i = 0; i < 200; ++i) static_cast<void>(cache_.set("k" + std::to_string(i), "v"));
  shm::ChainWalk walk{view(), 0};
  while (walk.next()) walk.slot().store_relaxed(Slot::live(view().data_begin - 1, 1));
  EXPECT_EQ(cache_.set("new", "v").code(), Errc::no_space);
  EXPECT_EQ(cache_.get("k1").code(), Errc::not_found);
}

TEST_F(DamagedSegment, ReadingTheTriggersTakesNoMoreMemoryThanTheTable) {
  ASSERT_TRUE(segment_.keeper().publish_triggers(everything(), 1s));
  mem::Word* const table = view().tables[1];
  const std::uint64_t first = layout::table_items_at(table[layout::kTableFilter].load_relaxed(), table[layout::kTableHeads].load_relaxed());
  const std::uint64_t items = (view().shape.table_bytes / 8 - first) / layout::kItemWords;
  table[layout::kTableItems].store_relaxed(items);
  for (std::uint64_t i = 0; i < items; ++i) {  // all of them claim most of the buffer as their text
    table[first + i * layout::kItemWords + layout::kItemPatternBytes].store_relaxed(0);
    table[first + i * layout::kItemWords + layout::kItemNameBytes].store_relaxed(0);
    table[first + i * layout::kItemWords + layout::kItemText].store_relaxed(0);
    table[first + i * layout::kItemWords + layout::kItemSourceBytes].store_relaxed(view().shape.table_bytes - 8);
  }
  EXPECT_EQ(read_triggers(cache_).code(), Errc::corrupt);
  EXPECT_NE(findings(cache_).find("[TR-1]"), std::string::npos);
}

TEST_F(DamagedSegment, NoTriggerHoldsAWriteBackForDays) {
  ASSERT_TRUE(segment_.keeper().publish_triggers(everything(), 1s));
  mem::Word* const table = view().tables[1];
  const std::uint64_t first = layout::table_items_at(table[layout::kTableFilter].load_relaxed(), table[layout::kTableHeads].load_relaxed());
  table[first + layout::kItemNext].store_relaxed(1);  // and its chain runs in a ring
  table[first + layout::kItemBlockMs].store_relaxed(~std::uint64_t{0});
  table[layout::kTableItems].store_relaxed(~std::uint64_t{0});
  Errc last = Errc::ok;
  for (int i = 0; i < 300 && last == Errc::ok; ++i) last = cache_.set("k" + std::to_string(i % 50), "v").code();
  EXPECT_EQ(last, Errc::full) << "waited for the bound of the library, not for that of the table";
}

TEST_F(DamagedSegment, TimesBeyondAllClocksAreClamped) {
  ASSERT_TRUE(segment_.keeper().publish_triggers(everything(), 1s));
  ASSERT_TRUE(cache_.set("k", "v"));
  view().cell(0).wall_us.store_relaxed(~std::uint64_t{0} >> 1);
  view().record(Slot::Offset::get(slot_of("k").load_relaxed()))->exp.store_relaxed(~std::uint64_t{1});
  view().header->supervisor_heartbeat.store_relaxed(std::uint64_t{1} << 63);
  const EventReader reader = segment_.keeper().reader();
  const auto event = reader.at(EventSeq{0});
  ASSERT_TRUE(event);
  EXPECT_GT(event->timestamp_wall_us(), 0);
  EXPECT_GT(*event->deadline_wall_us(), 0);
  EXPECT_GE(*event->ttl_ms(), 0);
  EXPECT_GE(event->lag_us(), 0);
  EXPECT_EQ(segment_info(cache_)->supervisor_heartbeat_age_ms, 0u);
}

TEST_F(DamagedSegment, AHeaderThatPromisesLargerValuesThanFitIsRefused) {
  view().header->shape.value_bytes_max = std::uint64_t{1} << 40;
  EXPECT_EQ(Cache::open({.name = segment_.name()}).code(), Errc::corrupt);
}

TEST_F(DamagedSegment, AClockOfNoMachineIsRefused) {
  view().header->created_mono_ns = std::uint64_t{1} << 63;
  EXPECT_EQ(Cache::open({.name = segment_.name()}).code(), Errc::corrupt);
}

TEST_F(DamagedSegment, ARegistrationNumberOfThisProcessIsNotTakenTwice) {
  const std::uint64_t next = view().header->registrations.load_relaxed();
  view().header->registrations.store_relaxed(0);
  const Cache second = segment_.client("second");
  const Cache third = segment_.client("third");
  EXPECT_GE(view().header->registrations.load_relaxed(), next) << "those of living handles were passed over";
  ASSERT_TRUE(cache_.set("k", "v"));
  EXPECT_EQ(segment_.keeper().reap(10), 0u);
}

// ---- a live key whose words are damaged: the table of libshm/README.md ------------------------

constexpr std::size_t kValueBytes = 200;

struct KeyDamage {
  const char* what;
  std::function<void(const Small&, std::string_view key)> damage;
  Errc read;   // what every read says
  Errc write;  // what set says; what it wrote is read afterwards
  Errc erase;  // what erase and touch say
  std::size_t value_bytes = kValueBytes;  // of what a read finds
  bool found_by_fsck = true;
};

void PrintTo(const KeyDamage& damage, std::ostream* out) { *out << damage.what; }

void redirect(const Small& small, std::string_view key, std::uint64_t unit) {
  auto& slot = small.slot_of(key);
  slot.store_relaxed(Slot::live(unit, Slot::Tag::get(slot.load_relaxed())));
}
void set_lens(const Small& small, std::string_view key, std::uint64_t key_bytes, std::uint64_t value_bytes) {
  auto& lens = small.record_of(key).lens;
  lens.store_relaxed(layout::Lens::Key::set(layout::Lens::Value::set(lens.load_relaxed(), value_bytes), key_bytes));
}
void set_state(const Small& small, std::string_view key, RecordState state) {
  auto& hdr = small.record_of(key).hdr;
  hdr.store_relaxed(Hdr::with(hdr.load_relaxed(), state));
}

const std::vector<KeyDamage>& key_damages() {
  static const std::vector<KeyDamage> list{
      {"slot_before_the_data", [](const Small& s, std::string_view k) { redirect(s, k, s.view().data_begin - 1); }, Errc::corrupt,
       Errc::corrupt, Errc::corrupt},
      {"slot_behind_the_data", [](const Small& s, std::string_view k) { redirect(s, k, s.view().data_end); }, Errc::corrupt,
       Errc::corrupt, Errc::corrupt},
      {"slot_of_a_free_block", [](const Small& s, std::string_view k) { redirect(s, k, s.view().page_unit(s.view().shape.page_count - 1)); },
       Errc::corrupt, Errc::corrupt, Errc::corrupt},
      {"slot_of_another_key", [](const Small& s, std::string_view k) { redirect(s, k, Slot::Offset::get(s.slot_of("another").load_relaxed())); },
       Errc::not_found, Errc::ok, Errc::not_found},
      {"slot_of_the_middle_of_a_value",
       [](const Small& s, std::string_view k) { redirect(s, k, Slot::Offset::get(s.slot_of(k).load_relaxed()) + 12); },
       Errc::not_found, Errc::ok, Errc::not_found},
      {"hdr_free", [](const Small& s, std::string_view k) { set_state(s, k, RecordState::free); }, Errc::corrupt, Errc::corrupt, Errc::corrupt},
      {"hdr_retired", [](const Small& s, std::string_view k) { set_state(s, k, RecordState::retired); }, Errc::ok, Errc::ok, Errc::ok},
      {"hdr_of_another_instance",
       [](const Small& s, std::string_view k) {
         auto& hdr = s.record_of(k).hdr;
         hdr.store_relaxed(Hdr::make(Hdr::Uid::get(hdr.load_relaxed()) ^ 1, Hdr::state(hdr.load_relaxed())));
       },
       Errc::ok, Errc::ok, Errc::ok},
      {"lens_of_another_key", [](const Small& s, std::string_view k) { set_lens(s, k, k.size() + 1, kValueBytes); }, Errc::not_found, Errc::ok,
       Errc::not_found},
      {"lens_beyond_the_data", [](const Small& s, std::string_view k) { set_lens(s, k, k.size(), layout::Lens::Value::kMax); },
       Errc::not_found, Errc::ok, Errc::not_found},
      {"lens_too_short", [](const Small& s, std::string_view k) { set_lens(s, k, k.size(), kValueBytes - 1); }, Errc::ok, Errc::ok, Errc::ok,
       kValueBytes - 1, false},
      {"lens_too_long", [](const Small& s, std::string_view k) { set_lens(s, k, k.size(), kValueBytes + 64); }, Errc::ok, Errc::ok, Errc::ok,
       kValueBytes + 64}};
  return list;
}

/// What a batch of one key says.
Result<std::string> read_in_batch(const Cache& cache, KeyView key) {
  Result<std::string> got = Errc::not_found;
  const KeyView keys[] = {key};
  const auto read = cache.get_many(keys, [&](std::size_t, std::optional<ValueView> value) {
    if (value) got = std::string{*value};
  });
  return read ? got : Result<std::string>{read.error()};
}

class DamagedKey : public ::testing::TestWithParam<KeyDamage> {
 protected:
  /// Lets `look` see a segment in which the damage was done to the key, once for each way that a key's length takes.
  template <class Look>
  static void for_each_length(Look&& look) {
    for (const char* const key : {"", "k", "a short key", "a key that is longer than short ones"}) {
      SCOPED_TRACE(key);
      Small small;
      ASSERT_TRUE(small.cache.set("another", std::string(kValueBytes, 'a')));
      ASSERT_TRUE(small.cache.set(key, std::string(kValueBytes, 'v')));
      GetParam().damage(small, key);
      look(small, key);
      // No sweep follows it anywhere.
      static_cast<void>(small.segment.keeper().expire_due(0, 100));
      static_cast<void>(small.segment.keeper().scrub(1 << 20));
    }
  }
};

TEST_P(DamagedKey, ReadsAgree) {
  const KeyDamage& damage = GetParam();
  for_each_length([&](Small& small, const std::string& key) {
    const Cache& cache = small.cache;
    std::string buffer(2 * kValueBytes, '\0');
    const auto expect = [&](const char* call, Errc code, std::size_t bytes) {
      EXPECT_EQ(code, damage.read) << call;
      EXPECT_EQ(bytes, code == Errc::ok ? damage.value_bytes : 0) << call;
    };
    const auto got = cache.get(key);
    expect("get", got.code(), got ? got->bytes.size() : 0);
    const auto into = cache.get_into(key, buffer);
    expect("get_into", into.code(), into.value_or(0));
    const auto batched = read_in_batch(cache, key);
    expect("get_many", batched.code(), batched ? batched->size() : 0);
    const auto viewed = cache.view(key);
    expect("view", viewed.code(), viewed ? viewed->bytes().size() : 0);
    const auto inspected = cache.inspect(key);
    expect("inspect", inspected.code(), inspected ? inspected->value.size() : 0);
    EXPECT_EQ(cache.ttl(key).code(), damage.read);
    if (damage.read == Errc::corrupt) {
      EXPECT_EQ(cache.contains(key).code(), Errc::corrupt);
    } else {
      EXPECT_EQ(cache.contains(key).value_or(false), damage.read == Errc::ok);
    }
    EXPECT_EQ(cache.get("another")->bytes, std::string(kValueBytes, 'a')) << "its neighbour is as it was";
    EXPECT_EQ(!findings(cache).empty(), damage.found_by_fsck) << findings(cache);
  });
}

TEST_P(DamagedKey, WhatASetStoresIsRead) {
  const KeyDamage& damage = GetParam();
  for_each_length([&](Small& small, const std::string& key) {
    ASSERT_EQ(small.cache.set(key, "new").code(), damage.write);
    if (damage.write != Errc::ok) return;
    EXPECT_EQ(small.cache.get(key)->bytes, "new");
    EXPECT_EQ(small.cache.view(key)->bytes(), "new");
    EXPECT_TRUE(small.cache.erase(key));
    EXPECT_EQ(small.cache.get(key).code(), Errc::not_found);
  });
}

TEST_P(DamagedKey, EraseAndTouchSayWhatReadsSay) {
  const KeyDamage& damage = GetParam();
  for_each_length([&](Small& small, const std::string& key) {
    EXPECT_EQ(small.cache.touch(key, 1h).code(), damage.erase);
    EXPECT_EQ(small.cache.replace(key, "x", {.if_version = 1}).code(), damage.erase == Errc::ok ? Errc::stale : damage.erase);
    EXPECT_EQ(small.cache.erase(key).code(), damage.erase);
    if (damage.erase == Errc::ok) {
      EXPECT_EQ(small.cache.get(key).code(), Errc::not_found);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Words, DamagedKey, ::testing::ValuesIn(key_damages()), [](const auto& damage) { return damage.param.what; });

}  // namespace
}  // namespace cachee::test
