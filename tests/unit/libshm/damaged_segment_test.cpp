// Goal: damages that once crashed, hung or swallowed memory get a plain answer. Each test is one such
// damage, written into a small segment; mappings stand between guard pages.
#include <gtest/gtest.h>

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

class DamagedSegment : public ::testing::Test {
 protected:
  TempSegment segment_{options()};
  SegmentBytes bytes_{segment_.name()};
  Cache cache_ = segment_.client();
  const View& view() const { return bytes_.view(); }
  mem::Word& slot_of(std::string_view key) const {
    shm::ChainWalk walk{view(), 0};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_relaxed();
      if (Slot::occupied(word) && shm::key_in_place(view(), Slot::Offset::get(word)) == key) return walk.slot();
    }
    throw std::runtime_error("no such key");
  }
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

}  // namespace
}  // namespace cachee::test
