#include "index/index.hpp"

#include "mem/crash_point.hpp"

namespace cachee::shm {

using layout::Ins;
using layout::Link;
using layout::OverflowOwner;
using layout::Slot;

namespace {

/// Slot of a place in a chain, or nullptr.
Word* slot_at(const View& view, std::uint64_t bucket, std::uint64_t place) noexcept {
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    if (walk.place() == place) return &walk.slot();
  }
  return nullptr;
}

}  // namespace

void help_insert(Context& context, std::uint64_t bucket, std::uint64_t busy) noexcept {
  const View& view = *context.view;
  Word& ins = view.buckets[bucket].ins;
  const std::uint64_t unit = Ins::Offset::get(busy);
  context.me->hz.store_release(unit);
  mem::fence_seq_cst();
  if (ins.load_seq_cst() != busy) return;
  Record* record = view.record(unit);
  Word* slot = slot_at(view, bucket, Ins::Place::get(busy));
  if (record == nullptr || slot == nullptr) return;
  std::uint64_t seen = slot->load_seq_cst();
  // [IX-2] `ins` again behind the slot: this empty word is the announcement's own.
  if (ins.load_seq_cst() == busy && !Slot::occupied(seen)) {
    slot->cas_seq_cst(seen, Slot::live(unit, Ins::Tag::get(busy)));  // N2
    CACHEE_CRASH_POINT("index.insert.placed");
  }
  const std::uint64_t uid = layout::Hdr::Uid::get(record->hdr.load_acquire());
  std::uint64_t expected = busy;
  ins.cas_seq_cst(expected, uid);  // N3
  CACHEE_CRASH_POINT("index.insert.done");
}

bool extend_chain(Context& context, std::uint64_t bucket) noexcept {
  const View& view = *context.view;
  ChainWalk walk{view, bucket};
  unsigned places = 0;
  while (walk.next()) ++places;
  if (places >= layout::kChainPlacesMax) return false;
  Word& last = walk.link();
  std::uint64_t seen = last.load_acquire();
  if (Link::Overflow::get(seen) != 0) return true;  // somebody was faster
  const std::uint64_t owner = OverflowOwner::BucketPlusOne::make(bucket + 1) | OverflowOwner::Client::make(context.id);
  const std::uint64_t count = view.shape.overflow_count;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t o = (bucket * 2654435761u + n) % count;
    if (view.overflow_owners[o].load_relaxed() != 0) continue;
    context.me->overflow.store_seq_cst(o + 1);  // O1
    if (!view.overflow_owners[o].cas(0, owner)) continue;  // O2
    CACHEE_CRASH_POINT("index.overflow.claimed");
    for (;;) {
      if (Link::Overflow::get(seen) != 0) {
        view.overflow_owners[o].store_release(0);
        break;
      }
      if (last.cas_seq_cst(seen, Link::Overflow::set(seen, o + 1))) break;  // O3
    }
    CACHEE_CRASH_POINT("index.overflow.linked");
    context.me->overflow.store_release(0);
    return true;
  }
  context.me->overflow.store_release(0);
  return false;
}

void index_repair_after(const View& view, std::uint32_t client) noexcept {
  const std::uint64_t claimed = view.clients[client].overflow.load_acquire();
  if (claimed == 0 || claimed > view.shape.overflow_count) return;
  const std::uint64_t owner = view.overflow_owners[claimed - 1].load_acquire();
  const std::uint64_t bucket_plus_one = OverflowOwner::BucketPlusOne::get(owner);
  if (OverflowOwner::Client::get(owner) != client || bucket_plus_one == 0 || bucket_plus_one > view.shape.bucket_count) return;
  Word* link = &view.buckets[bucket_plus_one - 1].link;
  for (unsigned n = 0; n < layout::kChainBucketsMax; ++n) {
    const std::uint64_t o = Link::Overflow::get(link->load_acquire());
    if (o == claimed) return;  // O3 happened
    if (o == 0 || o > view.shape.overflow_count) break;
    link = &view.overflow[o - 1].link;
  }
  view.overflow_owners[claimed - 1].cas(owner, 0);
}

std::uint64_t chain_of_group(const View& view, std::uint64_t group) noexcept {
  if (group < view.shape.bucket_count) return group;
  const std::uint64_t o = group - view.shape.bucket_count;
  if (o >= view.shape.overflow_count) return view.shape.bucket_count;
  const std::uint64_t owner = OverflowOwner::BucketPlusOne::get(view.overflow_owners[o].load_acquire());
  return owner == 0 || owner > view.shape.bucket_count ? view.shape.bucket_count : owner - 1;
}

std::uint64_t count_live(const View& view) noexcept {
  std::uint64_t live = 0;
  const auto count = [&](const Word* slots, unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
      const std::uint64_t w = slots[i].load_relaxed();
      live += Slot::occupied(w) && Slot::mark(w) == layout::Mark::live ? 1 : 0;
    }
  };
  for (std::uint64_t b = 0; b < view.shape.bucket_count; ++b) count(view.buckets[b].slots, layout::kHeadSlots);
  for (std::uint64_t o = 0; o < view.shape.overflow_count; ++o) {
    if (view.overflow_owners[o].load_relaxed() != 0) count(view.overflow[o].slots, layout::kOverflowSlots);
  }
  return live;
}

}  // namespace cachee::shm
