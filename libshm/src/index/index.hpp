// key -> record: buckets of six slots, chains of overflow buckets.
//
//   bucket  | slot 0 | slot 1 | ... | slot 5 | ins | link |      one cache line
//   slot    live: tag (16) + offset      marked: mark + cause + client + offset      empty: uid
//
// INDEX PROTOCOL
//
//   replace   X1 cas slot live(o) -> live(n)                          // LINEARIZES
//   remove    X2 cas slot live(o) -> marked(o)  // LINEARIZES         X3 cas marked -> empty(uid)
//   insert    N1 cas ins idle -> busy(place, n)  N2 cas slot empty -> live(n)  // LINEARIZES, by anybody
//             N3 cas ins busy -> idle(uid)
//   overflow  O1 client.overflow := o  O2 cas owner 0 -> {bucket, me}  O3 cas link of the last bucket
//
// Invariants
//   [IX-1] At most one live slot of a chain has a given key.
//   [IX-2] Only N2 fills an empty slot, and only the slot that `ins` names.
//   [IX-3] A record that `ins` names is not replaced or marked before N3 (mutators help first).
//   [IX-4] Empty and idle words carry uids: they never come back, so a stale CAS fails.
//   [IX-5] Tag and bucket of a live slot are those of its record's key.
//   [IX-6] An overflow bucket belongs to one chain for ever once linked.
//   [IX-7] A key never moves between slots; so a scan of a chain that misses it passed a moment at
//          which it was absent.
//
// Orders
//   X1, X2, N2 are seq_cst: with the trigger word they stand in one total order (triggers.hpp).
//   N1 acq_rel publishes the record's bytes to helpers; N2 and X1 to readers (slot acquire).
//   A helper reads the slot, then `ins` again: the empty word it saw is the one of this
//   announcement, so its N2 does the right thing or nothing.
//
// Killed between   what is left              who repairs
//   N1 and N3      a busy ins                whoever comes to the bucket next; the reaper
//   X2 and X3      a marked slot             the same
//   O2 and O3      an owned, unlinked bucket index_repair_after
#pragma once

#include <cstdint>

#include "clients/clients.hpp"
#include "mem/crash_point.hpp"
#include "record/record.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

/// Walks the slots of a chain. Bounded: a damaged link ends the walk.
class ChainWalk {
 public:
  ChainWalk(const View& view, std::uint64_t bucket) noexcept : view_{view}, slots_{view.buckets[bucket].slots}, link_{&view.buckets[bucket].link}, heat_{bucket * layout::kHeatPerBucket} {}
  /// Moves to the next slot; false at the end.
  bool next() noexcept {
    if (started_) ++in_bucket_;
    started_ = true;
    if (in_bucket_ < count_) return ++place_, true;
    const std::uint64_t o = layout::Link::Overflow::get(link_->load_acquire());
    if (o == 0 || o > view_.shape.overflow_count || ++buckets_ >= layout::kChainBucketsMax) return false;
    slots_ = view_.overflow[o - 1].slots;
    link_ = &view_.overflow[o - 1].link;
    heat_ = (view_.shape.bucket_count + o - 1) * layout::kHeatPerBucket;
    in_bucket_ = 0;
    count_ = layout::kOverflowSlots;
    ++place_;
    return true;
  }
  Word& slot() const noexcept { return slots_[in_bucket_]; }
  unsigned place() const noexcept { return static_cast<unsigned>(place_); }
  Heat& heat() const noexcept { return view_.heat[heat_ + in_bucket_]; }
  /// Link word of the bucket the walk is in.
  Word& link() const noexcept { return *link_; }

 private:
  const View& view_;
  Word* slots_;
  Word* link_;
  std::uint64_t heat_;
  unsigned in_bucket_ = 0;
  unsigned count_ = layout::kHeadSlots;
  unsigned buckets_ = 0;
  int place_ = -1;
  bool started_ = false;
};

/// H1-H3 for the intent word `old`. True: the record may be read and written through.
inline bool protect_old(Context& context, Word& slot, std::uint64_t word) noexcept {
  Client& me = *context.me;
  me.old_valid.store_release(0);
  me.old.store_release(layout::Slot::Offset::get(word));  // H1
  mem::fence_seq_cst();                                   // H2
  if (slot.load_seq_cst() != word) return false;          // H3
  me.old_valid.store_release(1);
  CACHEE_CRASH_POINT("index.protected");
  return true;
}
inline void clear_old(Context& context) noexcept {
  context.me->old_valid.store_release(0);
  context.me->old.store_release(0);
}

/// N2, N3 for what `ins` announces. Afterwards that announcement is over.
void help_insert(Context& context, std::uint64_t bucket, std::uint64_t busy) noexcept;

/// Makes room in a chain whose slots are all taken: O1-O3. False: no overflow bucket left.
bool extend_chain(Context& context, std::uint64_t bucket) noexcept;
void index_repair_after(const View& view, std::uint32_t client) noexcept;

/// Bucket whose chain a global slot group belongs to; bucket_count: none.
[[nodiscard]] std::uint64_t chain_of_group(const View& view, std::uint64_t group) noexcept;

/// Live slots of the whole index.
[[nodiscard]] std::uint64_t count_live(const View& view) noexcept;

}  // namespace cachee::shm
