#include "fsck/fsck.hpp"

#include <cstdio>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "clients/clients.hpp"
#include "expiry/expiry.hpp"
#include "index/index.hpp"
#include "record/record.hpp"
#include "ring/ring.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::CellWord;
using layout::EventWord;
using layout::Hdr;
using layout::Mark;
using layout::PageWord;
using layout::RecordState;
using layout::Slot;

namespace {

constexpr std::size_t kFindingsKeptMax = 1000;

class Checker {
 public:
  explicit Checker(const View& view) : view_{view} {}

  FsckReport run() {
    check_clients();
    check_pages();
    check_index();
    check_blocks();
    check_ring();
    check_summary();
    check_counters();
    return std::move(report_);
  }

 private:
  void find(const char* id, std::uint64_t offset, std::string text) {
    ++report_.findings_total;
    if (report_.findings.size() < kFindingsKeptMax) report_.findings.push_back({id, std::move(text), offset});
  }
  std::uint64_t offset_of(const void* p) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(p) - view_.base);
  }

  void check_clients() {
    const std::uint64_t used = view_.header->clients_used.load_acquire();
    if (used > view_.shape.clients_max) find("[CL-4]", offset_of(&view_.header->clients_used), "more client slots used than there are");
    for (std::uint64_t i = 0; i < view_.shape.clients_max; ++i) {
      const Client& c = view_.clients[i];
      const auto state = layout::ClientState::state(c.state.load_acquire());
      const bool busy = c.act.load_acquire() != 0 || c.nw.load_acquire() != 0 || c.old.load_acquire() != 0 || c.hz.load_acquire() != 0;
      if (state != layout::ClientState::kFree && i >= used) find("[CL-4]", offset_of(&c), "client slot " + std::to_string(i) + " in use beyond clients_used");
      if (state == layout::ClientState::kFree && busy) find("[CL-3]", offset_of(&c), "free client slot " + std::to_string(i) + " still names blocks");
      if (state == layout::ClientState::kRecovering || busy) report_.quiescent = false;
      for (const Word* w : {&c.nw, &c.old, &c.hz}) {
        if (const std::uint64_t unit = w->load_acquire(); unit != 0) held_.insert(unit);
      }
      for (const Word& w : c.pins) {
        if (const std::uint64_t unit = w.load_acquire(); unit != 0) held_.insert(unit);
      }
    }
  }

  void check_pages() {
    for (std::uint64_t p = 0; p < view_.shape.page_count; ++p) {
      const std::uint64_t word = view_.pages[p].load_acquire();
      const std::uint64_t length = PageWord::Length::get(word);
      const std::uint64_t at = offset_of(&view_.pages[p]);
      switch (PageWord::kind(word)) {
        case PageWord::kFree: break;
        case PageWord::kSlab:
          if (PageWord::Class::get(word) >= view_.shape.classes) find("[SL-1]", at, "page " + std::to_string(p) + " has no such class");
          break;
        case PageWord::kRunHead: {
          bool whole = length >= 1 && p + length <= view_.shape.page_count;
          for (std::uint64_t d = 1; whole && d < length; ++d) {
            const std::uint64_t tail = view_.pages[p + d].load_acquire();
            whole = PageWord::kind(tail) == PageWord::kRunTail && PageWord::Length::get(tail) == d;
          }
          if (!whole) find("[SL-4]", at, "run at page " + std::to_string(p) + " is not whole");
          break;
        }
        case PageWord::kRunTail: {
          const bool inside = length >= 1 && length <= p;
          const std::uint64_t head = inside ? view_.pages[p - length].load_acquire() : 0;
          if (!inside || (report_.quiescent && (PageWord::kind(head) != PageWord::kRunHead || PageWord::Length::get(head) <= length))) {
            find("[SL-4]", at, "page " + std::to_string(p) + " belongs to no run");
          }
          break;
        }
        default:
          if (report_.quiescent) find("[SL-5]", at, "page " + std::to_string(p) + " is half-way between two uses");
          break;
      }
    }
  }

  /// Where a record may begin: a block of a slab page, or the head of a run.
  bool is_block(std::uint64_t unit, std::uint64_t& block_bytes) const {
    if (view_.record(unit) == nullptr) return false;
    const std::uint64_t page = view_.page_of(unit);
    const std::uint64_t word = view_.pages[page].load_acquire();
    const std::uint64_t inside = (unit - view_.page_unit(page)) * layout::kOffsetUnit;
    if (PageWord::kind(word) == PageWord::kRunHead) {
      block_bytes = PageWord::Length::get(word) * view_.shape.page_bytes;
      return inside == 0;
    }
    if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) >= view_.shape.classes) return false;
    block_bytes = layout::kClassBytes[PageWord::Class::get(word)];
    return inside % block_bytes == 0 && inside + block_bytes <= view_.shape.page_bytes;
  }

  void check_slot(std::uint64_t bucket, const Word& slot, std::unordered_set<std::string>& keys) {
    const std::uint64_t word = slot.load_acquire();
    if (!Slot::occupied(word)) return;
    const std::uint64_t at = offset_of(&slot);
    const std::uint64_t unit = Slot::Offset::get(word);
    std::uint64_t block_bytes = 0;
    if (!is_block(unit, block_bytes)) return find("[IX-5]", at, "slot names no block");
    const Record& r = *view_.record(unit);
    const bool marked = Slot::mark(word) != Mark::live;
    if (!linked_.insert(unit).second) find("[IX-1]", at, "a record stands in two slots");
    if (marked) {
      marked_.insert(unit);
      if (report_.quiescent && Slot::mark(word) != Mark::exp && EventWord::state(r.rm.load_acquire()) != EventWord::kPending) {
        find("[KS-3]", at, "a removal was left unfinished");
      }
      return;
    }
    const RecordState state = Hdr::state(r.hdr.load_acquire());
    const bool settled = state == RecordState::clean || state == RecordState::ev_done;
    const bool possible = settled || state == RecordState::priv || state == RecordState::ev_pend;
    if (!possible || (report_.quiescent && !settled)) find("[KS-1]", offset_of(&r), "a linked record is in state " + std::to_string(static_cast<int>(state)));
    if (state == RecordState::ev_done && EventWord::state(r.ev.load_acquire()) != EventWord::kConfirmed) {
      find("[RC-4]", offset_of(&r), "a record's event is done but has no place");
    }
    if (settled && EventWord::state(r.rm.load_acquire()) != EventWord::kUnset && report_.quiescent) {
      find("[KS-3]", offset_of(&r), "a live record has a removal");
    }
    const RecordBounds b = bounds_of(view_, unit, r.lens.load_relaxed());
    if (!b.fits || sizeof(Record) + b.extension_at > block_bytes) return find("[RC-1]", offset_of(&r), "a record's lengths exceed its block");
    const std::string key{key_in_place(view_, unit)};
    const std::uint64_t hash = view_.hash(key);
    if (view_.bucket_of(hash) != bucket || View::tag_of(hash) != Slot::Tag::get(word)) find("[IX-5]", at, "tag or bucket is not that of the key");
    if (!keys.insert(key).second) find("[IX-1]", at, "a key stands twice in its chain");
    ++report_.records;
  }

  void check_index() {
    std::unordered_set<std::uint64_t> chained;
    for (std::uint64_t b = 0; b < view_.shape.bucket_count; ++b) {
      ++report_.buckets;
      if (report_.quiescent && layout::Ins::busy(view_.buckets[b].ins.load_acquire())) {
        find("[IX-2]", offset_of(&view_.buckets[b].ins), "an insertion was left announced");
      }
      std::unordered_set<std::string> keys;
      for (const Word& slot : view_.buckets[b].slots) check_slot(b, slot, keys);
      std::uint64_t o = layout::Link::Overflow::get(view_.buckets[b].link.load_acquire());
      for (unsigned n = 0; o != 0; ++n) {
        if (o > view_.shape.overflow_count || n >= layout::kChainBucketsMax || !chained.insert(o).second) {
          find("[IX-6]", offset_of(&view_.buckets[b].link), "the chain of bucket " + std::to_string(b) + " is damaged");
          break;
        }
        const std::uint64_t owner = view_.overflow_owners[o - 1].load_acquire();
        if (layout::OverflowOwner::BucketPlusOne::get(owner) != b + 1) {
          find("[IX-6]", offset_of(&view_.overflow_owners[o - 1]), "an overflow bucket's owner is not its chain");
        }
        for (const Word& slot : view_.overflow[o - 1].slots) check_slot(b, slot, keys);
        o = layout::Link::Overflow::get(view_.overflow[o - 1].link.load_acquire());
      }
    }
    for (std::uint64_t o = 0; report_.quiescent && o < view_.shape.overflow_count; ++o) {
      if (view_.overflow_owners[o].load_acquire() != 0 && !chained.contains(o + 1)) {
        find("[IX-6]", offset_of(&view_.overflow_owners[o]), "an overflow bucket is owned but in no chain");
      }
    }
  }

  void check_blocks() {
    std::unordered_set<std::uint64_t> uids;
    for (std::uint64_t p = 0; p < view_.shape.page_count; ++p) {
      for_each_block(view_, p, [&](std::uint64_t unit, Record& r) {
        ++report_.blocks;
        const std::uint64_t hdr = r.hdr.load_acquire();
        const RecordState state = Hdr::state(hdr);
        const std::uint64_t uid = Hdr::Uid::get(hdr);
        const bool linked = linked_.contains(unit);
        if (state == RecordState::free) {
          if (linked) find("[HP-1]", offset_of(&r), "a free block is linked");
          return;
        }
        if (!uids.insert(uid).second) find("[CL-2]", offset_of(&r), "two blocks have one uid");
        const std::uint64_t client = layout::Uid::Client::get(uid);
        if (client >= view_.shape.clients_max || layout::Uid::Counter::get(uid) >= view_.clients[client].counter.load_acquire()) {
          find("[CL-2]", offset_of(&r), "a uid was never given out");
        }
        if (!report_.quiescent) return;
        const bool transient = state == RecordState::priv || state == RecordState::ev_pend;
        if (transient && !held_.contains(unit)) find("[SL-2]", offset_of(&r), "a block is half-built and nobody's");
        const bool live = state == RecordState::clean || state == RecordState::ev_done;
        if (live && !linked) find("[KS-3]", offset_of(&r), "a live block is not linked");
        if (!live && !transient && linked && !marked_.contains(unit)) find("[KS-3]", offset_of(&r), "a retired block is linked");
      });
    }
  }

  void check_ring() {
    const std::uint64_t head = view_.header->ring_head.load_acquire();
    const std::uint64_t tail = view_.header->ring_tail.load_acquire();
    const std::uint64_t n = view_.shape.ring_events;
    if (head > tail + 1 || tail > head + n) return find("[RG-1]", offset_of(&view_.header->ring_head), "head and tail do not fit each other");
    for (std::uint64_t p = head; p < head + n; ++p) {
      const Cell& cell = view_.cell(p);
      const std::uint64_t word = cell.word.load_acquire();
      if (CellWord::is_empty(word)) {
        const bool right = word == CellWord::empty(p) && p >= tail;
        if (!right && report_.quiescent) find("[RG-1]", offset_of(&cell), "cell " + std::to_string(p) + " is empty for another position");
        continue;
      }
      if (p > tail && report_.quiescent) {
        find("[RG-1]", offset_of(&cell), "cell " + std::to_string(p) + " is filled behind the tail");
        continue;
      }
      ++report_.events;
      const Record* r = view_.record(CellWord::Offset::get(word));
      if (r == nullptr) {
        find("[RG-2]", offset_of(&cell), "cell " + std::to_string(p) + " names no record");
        continue;
      }
      const auto kind = static_cast<EventKind>(CellWord::Kind::get(word));
      const bool creation = kind == EventKind::write || kind == EventKind::read;
      const std::uint64_t ev = (creation ? r->ev : r->rm).load_acquire();
      const bool placed = EventWord::state(ev) == EventWord::kConfirmed || EventWord::state(ev) == EventWord::kProposed;
      if (!placed || EventWord::Position::get(ev) != (p & EventWord::Position::kMax)) {
        find("[RG-2]", offset_of(&cell), "cell " + std::to_string(p) + " and its record disagree");
      }
      if (Hdr::state(r->hdr.load_acquire()) == RecordState::free) find("[HP-1]", offset_of(&cell), "an unreleased event's record is free");
    }
  }

  void check_summary() {
    if (!report_.quiescent) return;
    for (std::uint64_t b = 0; b < view_.shape.bucket_count; ++b) {
      std::uint64_t earliest = layout::Link::kNever;
      ChainWalk walk{view_, b};
      while (walk.next()) {
        const std::uint64_t word = walk.slot().load_acquire();
        if (!Slot::occupied(word) || Slot::mark(word) != Mark::live) continue;
        const Record* r = view_.record(Slot::Offset::get(word));
        if (r == nullptr) continue;
        const std::uint64_t deadline_ms = layout::Exp::Deadline::get(r->exp.load_acquire());
        if (deadline_ms != 0) earliest = std::min(earliest, summary_ms(view_, deadline_ms));
      }
      if (earliest == layout::Link::kNever) continue;
      if (layout::Link::Deadline::get(view_.buckets[b].link.load_acquire()) > earliest) {
        find("[EX-1]", offset_of(&view_.buckets[b].link), "bucket " + std::to_string(b) + " would expire late");
        continue;
      }
      for (unsigned level = 0; level < view_.levels.count; ++level) {
        const Word& node = view_.minima[view_.levels.start[level] + (b >> (6 * (level + 1)))];
        if (node.load_acquire() > earliest) find("[EX-1]", offset_of(&node), "the deadline summary is too high for bucket " + std::to_string(b));
      }
    }
  }

  void check_counters() {
    for (std::uint64_t s = 0; s < view_.shape.trigger_slots; ++s) {
      const auto& c = view_.counters[s];
      const std::uint64_t sum = c.acknowledged.load_relaxed() + c.moved.load_relaxed() + c.shed.load_relaxed();
      if (report_.quiescent && view_.journal->valid.load_acquire() == 0 && c.emitted.load_relaxed() != sum) {
        find("[RG-5]", offset_of(&c), "the account of trigger slot " + std::to_string(s) + " does not add up");
      }
    }
  }

  const View& view_;
  FsckReport report_;
  std::unordered_set<std::uint64_t> linked_;
  std::unordered_set<std::uint64_t> marked_;
  std::unordered_set<std::uint64_t> held_;
};

}  // namespace

FsckReport check_segment(const View& view) { return Checker{view}.run(); }

}  // namespace cachee::shm
