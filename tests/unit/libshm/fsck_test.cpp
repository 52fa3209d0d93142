// Goal: fsck names every invariant whose breach can be seen in the bytes, and says nothing of a sound
// segment; repair() mends what it promises to.
//
// Method: each kind of damage is planted by itself into a sound segment, which holds keys of every
// size, a chain with overflow buckets, deadlines, events that wait in the ring, and a retired record
// that one of them holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "index/index.hpp"
#include "record/record.hpp"
#include "slab/slab.hpp"
#include "support/segment_bytes.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;
using layout::CellWord;
using layout::ClientState;
using layout::EventWord;
using layout::Exp;
using layout::Hdr;
using layout::Ins;
using layout::Lens;
using layout::Link;
using layout::Mark;
using layout::PageWord;
using layout::RecordState;
using layout::Slot;
using layout::Uid;
using shm::Record;
using shm::View;
using mem::Word;

SegmentOptions options() {
  SegmentOptions o;
  o.memory_bytes = kSegmentBytesMin;
  o.ring_events = 256;
  o.clients_max = 12;
  o.bucket_count = 4;
  o.page_bytes = 4096;
  return o;
}

// So few that overflow buckets are left over whatever the hash seed makes of the keys.
constexpr int kKeys = 40;

/// A sound segment with nobody in it, and hands for damaging it.
class Sound {
 public:
  Sound() : segment_{options()} {
    TriggerTable table;
    table.triggers.push_back({.name = "all", .pattern = "e:*", .events = 0x1e, .source = "return", .block_ms = 1});
    must(segment_.keeper().publish_triggers(table, 1s));
    {
      Cache cache = segment_.client();
      for (int i = 0; i < kKeys; ++i) must(cache.set("k" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 7, 'v')));
      must(cache.set("gone", "x"));
      must(cache.erase("gone"));
      must(cache.set("ttl", "x", {.ttl = 1h}));
      must(cache.set("large", std::string(9000, 'L')));
      must(cache.set("rich", "x", {.metadata = {{"name", "text"}}}));
      must(cache.set("e:1", "first"));
      must(cache.set("e:1", "second"));
      must(cache.set("e:2", "only"));
    }
    bytes_.emplace(segment_.name());
    // The keys may fill every chain to the brim, as the seed falls: one more makes its chain longer.
    for (int i = 0; find_empty_slot() == nullptr; ++i) {
      Cache cache = segment_.client();
      must(cache.set("more" + std::to_string(i), "x"));
      must(cache.erase("more" + std::to_string(i)));
    }
  }
  Word* find_empty_slot() const {
    for (std::uint64_t b = 0; b < view().shape.bucket_count; ++b) {
      shm::ChainWalk walk{view(), b};
      while (walk.next()) {
        if (walk.slot().load_relaxed() == 0) return &walk.slot();
      }
    }
    return nullptr;
  }
  template <class R>
  static void must(const R& done) {
    if (!done) throw std::runtime_error(to_string(done.error()));
  }

  const View& view() const { return bytes_->view(); }
  Maintainer& keeper() { return segment_.keeper(); }
  const std::string& name() const { return segment_.name(); }

  struct Found {
    Word* slot = nullptr;
    std::uint64_t bucket = 0;
    Record* record = nullptr;
    std::uint64_t unit = 0;
  };
  Found find(std::string_view key) const {
    Found found;
    found.bucket = view().bucket_of(view().hash(key));
    shm::ChainWalk walk{view(), found.bucket};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_relaxed();
      if (!Slot::occupied(word) || shm::key_in_place(view(), Slot::Offset::get(word)) != key) continue;
      found.slot = &walk.slot();
      found.unit = Slot::Offset::get(word);
      found.record = view().record(found.unit);
      return found;
    }
    throw std::runtime_error("no such key: " + std::string{key});
  }
  /// A slot that never held anything; the constructor has seen to it that there is one.
  Word& empty_slot() const { return *find_empty_slot(); }
  Word& page(PageWord::Kind kind) const {
    for (std::uint64_t p = 0; p < view().shape.page_count; ++p) {
      if (PageWord::kind(view().pages[p].load_relaxed()) == kind) return view().pages[p];
    }
    throw std::runtime_error("no such page");
  }
  /// A block in a state.
  Record& block(RecordState state) const {
    Record* found = nullptr;
    for (std::uint64_t p = 0; p < view().shape.page_count; ++p) {
      shm::for_each_block(view(), p, [&](std::uint64_t, Record& r) {
        if (found == nullptr && Hdr::state(r.hdr.load_relaxed()) == state) found = &r;
      });
    }
    if (found == nullptr) throw std::runtime_error("no such block");
    return *found;
  }
  static void set_state(Record& r, RecordState state) { r.hdr.store_relaxed(Hdr::with(r.hdr.load_relaxed(), state)); }
  static void set_event(Word& word, EventWord::State state, std::uint64_t position) {
    word.store_relaxed(EventWord::make(state, 1, position));
  }
  static std::uint64_t position(const Word& word) { return EventWord::Position::get(word.load_relaxed()); }
  static void set_mark(const Found& at, Mark mark) { at.slot->store_relaxed(Slot::marked(at.unit, mark, 0, 3, 0)); }
  Word& link(std::uint64_t bucket) const { return view().buckets[bucket].link; }
  /// A bucket with an overflow bucket: four head buckets do not hold all the keys.
  std::uint64_t chained() const {
    for (std::uint64_t b = 0; b < 4; ++b) {
      if (Link::Overflow::get(link(b).load_relaxed()) != 0) return b;
    }
    throw std::runtime_error("no chain has an overflow bucket");
  }
  std::uint64_t first_overflow() const { return Link::Overflow::get(link(chained()).load_relaxed()); }
  void set_deadline(std::uint64_t bucket, std::uint64_t ms) const { link(bucket).store_relaxed(Link::Deadline::set(link(bucket).load_relaxed(), ms)); }
  static void add(Word& word, std::uint64_t n) { word.store_relaxed(word.load_relaxed() + n); }

  FsckReport report() const {
    const auto cache = Cache::open({.name = segment_.name(), .access = Access::read_only});
    must(cache);
    const auto report = fsck(*cache);
    must(report);
    return *report;
  }

 private:
  TempSegment segment_;
  std::optional<SegmentBytes> bytes_;
};

bool names(const FsckReport& report, const std::string& id) {
  return std::any_of(report.findings.begin(), report.findings.end(), [&](const FsckFinding& f) { return f.invariant == id; });
}

std::string text_of(const FsckReport& report) {
  std::string text;
  for (const auto& f : report.findings) text += f.invariant + " " + f.text + "\n";
  return text;
}

struct Damage {
  const char* id;
  const char* what;
  void (*plant)(Sound&);
};

// A uid that no client gave out.
constexpr std::uint64_t kForeignUid = Uid::make(11, std::uint64_t{1} << 40);

const Damage kDamages[] = {
    {"[CL-1]", "a slot is live for nobody", [](Sound& s) { s.view().clients[5].state.store_relaxed(ClientState::make(ClientState::kLive, 0, 0)); }},
    {"[CL-1]", "a slot is recovered by nobody", [](Sound& s) { s.view().clients[5].state.store_relaxed(ClientState::make(ClientState::kRecovering, 9, 0)); }},
    {"[CL-2]", "two blocks have one uid",
     [](Sound& s) {
       const auto at = s.find("k2");
       at.record->hdr.store_relaxed(s.find("k1").record->hdr.load_relaxed());
     }},
    {"[CL-2]", "a uid that nobody gave out", [](Sound& s) { s.find("k1").record->hdr.store_relaxed(Hdr::make(kForeignUid, RecordState::clean)); }},
    {"[CL-3]", "a free slot names a block", [](Sound& s) { s.view().clients[7].old.store_relaxed(s.find("k1").unit); }},
    {"[CL-3]", "a free slot has a pin", [](Sound& s) { s.view().clients[7].pins[3].store_relaxed(s.find("k1").unit); }},
    {"[CL-4]", "more slots used than there are", [](Sound& s) { s.view().header->clients_used.store_relaxed(1000); }},
    {"[CL-4]", "a slot in use beyond those used",
     [](Sound& s) {
       s.view().header->clients_used.store_relaxed(0);
       s.view().clients[5].state.store_relaxed(ClientState::make(ClientState::kLive, 9, 0));
     }},
    {"[CL-5]", "a client in a supervisor's slot",
     [](Sound& s) {
       s.view().clients[1].state.store_relaxed(ClientState::make(ClientState::kLive, 9, 0));
       s.view().clients[1].role.store_relaxed(static_cast<std::uint64_t>(Role::client));
       s.view().clients[1].attached_wall_ms.store_relaxed(1);
     }},
    {"[SL-1]", "a page of a class that is not there", [](Sound& s) { s.page(PageWord::kSlab).store_relaxed(PageWord::make(PageWord::kSlab, 250, 0, 0)); }},
    {"[SL-1]", "a page of no kind", [](Sound& s) { s.page(PageWord::kFree).store_relaxed(7); }},
    {"[SL-1]", "a claimed block without its claimer", [](Sound& s) { s.find("k1").record->hdr.store_relaxed(Hdr::make(0, RecordState::clean)); }},
    {"[SL-2]", "a block is half-built and nobody's", [](Sound& s) { s.set_state(s.block(RecordState::free), RecordState::priv); }},
    {"[SL-4]", "a run's tail belongs to another", [](Sound& s) { Sound::add(s.page(PageWord::kRunTail), PageWord::Length::make(1)); }},
    {"[SL-4]", "a run is longer than its tails", [](Sound& s) { Sound::add(s.page(PageWord::kRunHead), PageWord::Length::make(1)); }},
    {"[SL-5]", "a page was left between two uses", [](Sound& s) { s.page(PageWord::kFree).store_relaxed(PageWord::make(PageWord::kInit, 3, 3, 0)); }},
    {"[SL-6]", "a client holds a page that is not there", [](Sound& s) { s.view().clients[7].page.store_relaxed(1 << 30); }},
    {"[IX-1]", "a record in two slots", [](Sound& s) { s.empty_slot().store_relaxed(s.find("k1").slot->load_relaxed()); }},
    {"[IX-1]", "a key twice in its chain",
     [](Sound& s) {
       // Two records of one length: the second becomes one of the first's key, in the first's chain. The
       // hash seed decides which chain has room.
       const auto second = s.find("k39");
       for (int i = 10; i < kKeys - 1; ++i) {
         const auto first = s.find("k" + std::to_string(i));
         shm::ChainWalk walk{s.view(), first.bucket};
         while (walk.next()) {
           if (Slot::occupied(walk.slot().load_relaxed())) continue;
           second.record->payload()[0].store_relaxed(first.record->payload()[0].load_relaxed());
           second.slot->store_relaxed(0);
           walk.slot().store_relaxed(Slot::live(second.unit, Slot::Tag::get(first.slot->load_relaxed())));
           return;
         }
       }
       throw std::runtime_error("no room in the chain");
     }},
    {"[IX-2]", "an insertion left announced", [](Sound& s) { s.view().buckets[0].ins.store_relaxed(Ins::make(1, 7, s.find("k1").unit)); }},
    {"[IX-3]", "a removal of what is announced",
     [](Sound& s) {
       const auto at = s.find("k1");
       s.set_mark(at, Mark::del);
       s.view().buckets[at.bucket].ins.store_relaxed(Ins::make(1, 7, at.unit));
     }},
    {"[IX-4]", "an empty slot without a uid", [](Sound& s) { s.empty_slot().store_relaxed(kForeignUid); }},
    {"[IX-4]", "an idle announcement without a uid", [](Sound& s) { s.view().buckets[1].ins.store_relaxed(kForeignUid); }},
    {"[IX-5]", "a slot with another key's tag", [](Sound& s) { Sound::add(*s.find("k1").slot, Slot::Tag::make(1)); }},
    {"[IX-5]", "a slot that names no block", [](Sound& s) { Sound::add(*s.find("k1").slot, 1); }},
    {"[IX-5]", "a record in another chain",
     [](Sound& s) {
       const auto at = s.find("k1");
       for (std::uint64_t b = 0; b < s.view().shape.bucket_count; ++b) {
         shm::ChainWalk walk{s.view(), b};
         while (b != at.bucket && walk.next()) {
           if (Slot::occupied(walk.slot().load_relaxed())) continue;
           walk.slot().store_relaxed(at.slot->load_relaxed());
           at.slot->store_relaxed(0);
           return;
         }
       }
     }},
    {"[IX-6]", "a link beyond the overflow buckets", [](Sound& s) { s.link(2).store_relaxed(Link::Overflow::set(s.link(2).load_relaxed(), Link::Overflow::kMax)); }},
    {"[IX-6]", "two chains that run together",
     [](Sound& s) {
       Word& other = s.link((s.chained() + 1) % 4);
       other.store_relaxed(Link::Overflow::set(other.load_relaxed(), s.first_overflow()));
     }},
    {"[IX-6]", "a chain that runs in a ring",
     [](Sound& s) {
       const std::uint64_t o = s.first_overflow();
       s.view().overflow[o - 1].link.store_relaxed(Link::Overflow::make(o));
     }},
    {"[IX-6]", "an overflow bucket of another owner",
     [](Sound& s) { s.view().overflow_owners[s.first_overflow() - 1].store_relaxed(99); }},
    {"[IX-6]", "an overflow bucket in no chain",
     [](Sound& s) {
       for (std::uint64_t o = 0; o < s.view().shape.overflow_count; ++o) {
         if (s.view().overflow_owners[o].load_relaxed() == 0) return s.view().overflow_owners[o].store_relaxed(1);
       }
       throw std::runtime_error("every overflow bucket is taken");
     }},
    {"[KS-1]", "a linked record is retired", [](Sound& s) { s.set_state(*s.find("k1").record, RecordState::retired); }},
    {"[KS-1]", "a linked record never was linked", [](Sound& s) { s.set_state(*s.find("k1").record, RecordState::aborted); }},
    {"[KS-2]", "nobody decided about an event", [](Sound& s) { s.set_state(*s.find("k1").record, RecordState::priv); }},
    {"[KS-2]", "an event that is not owed has a place", [](Sound& s) { s.set_event(s.find("k1").record->ev, EventWord::kConfirmed, 5); }},
    {"[KS-3]", "a live record is in no slot", [](Sound& s) { s.find("k1").slot->store_relaxed(0); }},
    {"[KS-3]", "a live record has a removal", [](Sound& s) { s.set_event(s.find("k1").record->rm, EventWord::kNone, 0); }},
    {"[KS-3]", "a removal left unfinished", [](Sound& s) { s.set_mark(s.find("k1"), Mark::del); }},
    {"[KS-4]", "a replaced record waits for another event",
     [](Sound& s) { s.set_event(s.block(RecordState::retired).rm, EventWord::kConfirmed, Sound::position(s.find("e:2").record->ev)); }},
    {"[KS-6]", "no sweep will see an unpaid event",
     [](Sound& s) {
       const auto at = s.find("k1");
       s.set_state(*at.record, RecordState::ev_pend);
       s.set_event(at.record->ev, EventWord::kPending, 0);
     }},
    {"[KS-6]", "no sweep will see an unpaid removal",
     [](Sound& s) {
       const auto at = s.find("k1");
       s.set_mark(at, Mark::del);
       s.set_event(at.record->rm, EventWord::kPending, 0);
     }},
    {"[HP-1]", "a free block is linked", [](Sound& s) { s.set_state(*s.find("k1").record, RecordState::free); }},
    {"[HP-1]", "the record of a waiting event is free", [](Sound& s) { s.set_state(s.block(RecordState::retired), RecordState::free); }},
    {"[RC-1]", "lengths exceed the block", [](Sound& s) { Sound::add(s.find("k1").record->lens, Lens::Value::make(5000)); }},
    {"[RC-1]", "what is beside the value cannot be read",
     [](Sound& s) {
       const auto at = s.find("rich");
       const auto b = shm::bounds_of(s.view(), at.unit, at.record->lens.load_relaxed());
       at.record->payload()[b.extension_at / 8].store_relaxed(~std::uint64_t{0});
     }},
    {"[RC-2]", "a block in no state", [](Sound& s) { Sound::set_state(s.block(RecordState::clean), static_cast<RecordState>(7)); }},
    {"[RC-3]", "an expired record may still change its deadline",
     [](Sound& s) {
       const auto at = s.find("ttl");
       at.record->exp.store_relaxed(Exp::make(layout::Deadline::monotonic(1)));
       s.set_mark(at, Mark::exp);
     }},
    {"[RC-4]", "an event is done and has no place", [](Sound& s) { s.find("e:2").record->ev.store_relaxed(0); }},
    {"[EX-1]", "a bucket would expire late", [](Sound& s) { s.set_deadline(s.find("ttl").bucket, Link::kNever); }},
    {"[EX-1]", "the summary is too high", [](Sound& s) { s.view().minima[0].store_relaxed(Link::kNever); }},
    {"[EX-3]", "a moment without an offset",
     [](Sound& s) {
       shm::Record& record = *s.find("ttl").record;
       record.exp.store_relaxed(Exp::with(record.exp.load_relaxed(), layout::Deadline::wall(4'000'000'000'000)));
     }},
    {"[EX-2]", "a record expired before its deadline",
     [](Sound& s) {
       const auto at = s.find("ttl");
       at.record->exp.store_relaxed(at.record->exp.load_relaxed() | Exp::kFrozen);
       s.set_mark(at, Mark::exp);
     }},
    {"[RG-1]", "the head is before the tail", [](Sound& s) { s.view().header->ring_head.store_relaxed(50); }},
    {"[RG-1]", "a cell is filled behind the tail", [](Sound& s) { s.view().cell(40).word.store_relaxed(s.view().cell(0).word.load_relaxed()); }},
    {"[RG-1]", "a cell is empty for another position", [](Sound& s) { s.view().cell(40).word.store_relaxed(CellWord::empty(41)); }},
    {"[RG-1]", "a cell before the tail is empty", [](Sound& s) { s.view().cell(0).word.store_relaxed(CellWord::empty(0)); }},
    {"[RG-2]", "a cell names another record", [](Sound& s) { s.view().cell(0).word.store_relaxed(CellWord::make(s.find("k1").unit, 1, 0, 0, 0, false)); }},
    {"[RG-2]", "a cell names no record", [](Sound& s) { Sound::add(s.view().cell(0).word, 3); }},
    {"[RG-2]", "an event's place is another's", [](Sound& s) { s.set_event(s.find("e:2").record->ev, EventWord::kConfirmed, 0); }},
    {"[RG-2]", "an event's place is beyond the ring", [](Sound& s) { s.set_event(s.find("e:2").record->ev, EventWord::kConfirmed, 1 << 20); }},
    {"[RG-3]", "a retired record's event was never confirmed",
     [](Sound& s) { s.set_event(s.block(RecordState::retired).ev, EventWord::kProposed, 0); }},
    {"[RG-4]", "two events of a key in the wrong order",
     [](Sound& s) {
       Record& old = s.block(RecordState::retired);
       old.ev.store_relaxed(old.rm.load_relaxed());
     }},
    {"[RG-5]", "an account that does not add up", [](Sound& s) { Sound::add(s.view().counters[3].emitted, 1); }},
    {"[RG-5]", "a journal beyond the ring",
     [](Sound& s) {
       s.view().journal->end.store_relaxed(1 << 20);
       s.view().journal->valid.store_relaxed(1);
     }},
    {"[RG-7]", "an empty cell keeps a status", [](Sound& s) { s.view().cell(100).status.store_relaxed(1); }},
    {"[RG-7]", "an empty cell keeps a time", [](Sound& s) { s.view().cell(100).wall_us.store_relaxed(12345); }},
    {"[TR-1]", "the mask is not that of the table", [](Sound& s) { Sound::add(s.view().header->trigger_word, 1); }},
    {"[TR-1]", "the table cannot be read",
     [](Sound& s) {
       Word* const table = s.view().tables[1];
       const std::uint64_t item = layout::table_items_at(table[layout::kTableFilter].load_relaxed(), table[layout::kTableHeads].load_relaxed());
       table[item + layout::kItemPatternBytes].store_relaxed(1 << 20);
     }},
};

class FsckDamage : public ::testing::TestWithParam<std::size_t> {};

TEST_P(FsckDamage, IsNamed) {
  const Damage& damage = kDamages[GetParam()];
  SCOPED_TRACE(std::string{damage.id} + " " + damage.what);
  Sound sound;
  const auto before = sound.report();
  ASSERT_EQ(text_of(before), "") << "the segment was sound";
  ASSERT_TRUE(before.quiescent);
  damage.plant(sound);
  EXPECT_TRUE(names(sound.report(), damage.id)) << text_of(sound.report());
}

INSTANTIATE_TEST_SUITE_P(Each, FsckDamage, ::testing::Range<std::size_t>(0, std::size(kDamages)));

TEST(Fsck, CountsWhatItLookedAt) {
  const auto report = Sound{}.report();
  EXPECT_EQ(report.records, kKeys + 5u);  // the plain ones; ttl, large, rich, e:1, e:2
  EXPECT_EQ(report.events, 3u);
  EXPECT_EQ(report.buckets, 4u);
  EXPECT_EQ(report.blocks_unlisted, 0u);
  EXPECT_GT(report.blocks, report.records);
}

// ---- repair --------------------------------------------------------------------------------

TEST(FsckRepair, PutsTheDeadlineSummaryRight) {  // [EX-1]
  Sound sound;
  const std::uint64_t bucket = sound.find("ttl").bucket;
  sound.set_deadline(bucket, Link::kNever);
  sound.view().minima[0].store_relaxed(Link::kNever);
  ASSERT_TRUE(names(sound.report(), "[EX-1]"));
  ASSERT_TRUE(sound.keeper().repair());
  EXPECT_EQ(text_of(sound.report()), "");
}

TEST(FsckRepair, FindsFreeBlocksThatNoListHas) {  // [SL-3]
  Sound sound;
  const Record& r = sound.block(RecordState::free);
  const std::uint64_t page = sound.view().page_of(sound.view().unit_of(&r));
  for (std::uint64_t w = 0; w < sound.view().bit_words; ++w) sound.view().free_bits[page * sound.view().bit_words + w].store_relaxed(0);
  const auto hidden = sound.report();
  EXPECT_GT(hidden.blocks_unlisted, 0u);
  EXPECT_EQ(text_of(hidden), "") << "hidden memory is not damage";
  ASSERT_TRUE(sound.keeper().repair());
  EXPECT_EQ(sound.report().blocks_unlisted, 0u);
}

TEST(FsckReport, WhatAThreadKeptForItselfIsListedAgainWhenItEnds) {  // [SL-3]
  Sound sound;
  ASSERT_EQ(sound.report().blocks_unlisted, 0u) << "clients came and went in the constructor";
  {
    auto cache = Cache::open({.name = sound.name()});
    ASSERT_TRUE(cache) << to_string(cache.error());
    ASSERT_TRUE(cache->set("one more", "x"));
    const std::uint64_t kept = sound.report().blocks_unlisted;
    EXPECT_GT(kept, 0u);
    EXPECT_LT(kept, 16u) << "of one class, and one of its share is in use";
  }
  EXPECT_EQ(sound.report().blocks_unlisted, 0u);
}

TEST(FsckRepair, EndsAnInsertionThatWasLeftAnnounced) {  // [IX-2]
  Sound sound;
  // As if its client had been killed between N2 and N3: the record stands, the announcement too.
  const auto at = sound.find("k1");
  shm::ChainWalk walk{sound.view(), at.bucket};
  while (walk.next() && &walk.slot() != at.slot) {
  }
  sound.view().buckets[at.bucket].ins.store_relaxed(Ins::make(walk.place(), Slot::Tag::get(at.slot->load_relaxed()), at.unit));
  ASSERT_TRUE(names(sound.report(), "[IX-2]"));
  ASSERT_TRUE(sound.keeper().repair());
  EXPECT_EQ(text_of(sound.report()), "");
}

TEST(FsckRepair, EndsRemovalsAndPaysEventsThatWereLeft) {  // [KS-3] [KS-6] [KS-2]
  Sound sound;
  sound.set_mark(sound.find("k1"), Mark::del);
  sound.set_state(*sound.find("e:2").record, RecordState::priv);
  sound.find("e:2").record->ev.store_relaxed(0);
  const std::uint64_t place = 2;
  ASSERT_EQ(CellWord::Offset::get(sound.view().cell(place).word.load_relaxed()), sound.find("e:2").unit);
  sound.view().cell(place).word.store_relaxed(CellWord::empty(place));
  sound.view().cell(place).wall_us.store_relaxed(CellWord::empty(place));
  sound.view().header->ring_tail.store_relaxed(place);
  ASSERT_TRUE(names(sound.report(), "[KS-3]"));
  ASSERT_TRUE(names(sound.report(), "[KS-2]"));
  ASSERT_TRUE(sound.keeper().repair());
  EXPECT_EQ(text_of(sound.report()), "");
  const auto cache = Cache::open({.name = sound.name()});
  EXPECT_EQ(cache->get("k1").code(), Errc::not_found);
  EXPECT_EQ(cache->get("e:2")->bytes, "only");
  const EventReader reader = sound.keeper().reader();
  const auto event = reader.at(EventSeq{place});
  ASSERT_TRUE(event) << "the event was appended";
  EXPECT_EQ(event->key, "e:2");
}

TEST(FsckBesideClients, SaysNothingOfASoundSegmentThatIsAtWork) {
  SegmentOptions large = options();
  large.memory_bytes = 32 << 20;
  large.bucket_count = 0;
  TempSegment segment{large};
  std::atomic<bool> done{false};
  // They rest again and again, so that a check may begin while everybody is idle.
  const auto work = [&](int number) {
    Cache cache = segment.client();
    for (int i = 0; !done; ++i) {
      const std::string key = std::to_string(number) + ":" + std::to_string(i % 500);
      if (i % 5 == 4) {
        static_cast<void>(cache.erase(key));
      } else {
        static_cast<void>(cache.set(key, std::string(static_cast<std::size_t>(i % 90), 'v'), {.ttl = std::chrono::milliseconds{1 + i % 20}}));
      }
      if (i % 20 == 0) std::this_thread::sleep_for(300us);
    }
  };
  std::thread first{work, 1};
  std::thread second{work, 2};
  std::thread sweep{[&] {
    while (!done) {
      static_cast<void>(segment.keeper().expire_due(base::now_ns(), 100));
      std::this_thread::sleep_for(500us);
    }
  }};
  Cache cache = segment.client();
  int busy = 0;
  for (int check = 0; check < 100; ++check) {
    const auto report = fsck(cache);
    ASSERT_TRUE(report);
    busy += report->quiescent ? 0 : 1;
    ASSERT_EQ(report->findings_total, 0u) << "check " << check << ", " << report->findings.front().invariant << ": " << report->findings.front().text;
  }
  EXPECT_GT(busy, 0) << "nobody was at work";
  done = true;
  for (std::thread* thread : {&first, &second, &sweep}) thread->join();
  const auto report = fsck(cache);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->quiescent);
  EXPECT_EQ(report->findings_total, 0u);
}

}  // namespace
}  // namespace cachee::test
