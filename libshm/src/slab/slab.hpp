// Space for records.
//
// SLAB PROTOCOL
//
// The data region is pages; a page is FREE, a SLAB of equal blocks of one class, or part of a RUN
// (one record larger than half a page). The state in a block's hdr word is the truth about the
// block. Bitmaps (free, hint, available) and the per-thread lists are hints that may be wrong
// either way: a set bit that is wrong costs a failed CAS, a clear bit that is wrong hides a block
// until scrub() sets it again. A thread takes a few free blocks of a page at once, in the order of
// their addresses: the bits are cleared in one step, the blocks are claimed one by one.
//
//   alloc   A1 nw_uid, nw := block (seq_cst)   A2 page word is still SLAB of the class
//           A3 cas hdr FREE(u) -> PRIV(uid)     A4 fill
//   free    F1 cas hdr RETIRED|ABORTED -> FREE (reclaim.hpp: nobody can still use it)
//           F2 fence   F3 set the free bit if it is clear
//   page    P1 cas FREE -> INIT(me)   P2 hdr of every block := FREE   P3 store SLAB(class)
//   drain   D1 cas SLAB -> DRAIN(me)  D2 fence; no nw names a block of the page, nobody holds it
//           D3 cas every hdr FREE -> PRIV(my uid)   D4 store FREE; or undo: back to FREE, SLAB
//   keep    K1 cas FREE -> FREE, kept for runs (and back): P1 leaves such a page alone, U1 takes it
//   run     U1 cas each page FREE -> CLAIM(me)      U2 head := CLAIM(me, length), tails := TAIL
//           U3 nw, hdr PRIV                         U4 head := RUN_HEAD(length)
//   unrun   V1 cas RUN_HEAD -> DRAIN(me, length)    V2 cas hdr RETIRED|ABORTED -> FREE, else undo V1
//           V3 tails := FREE, head := FREE
//
// Invariants
//   [SL-1] A block is claimed by exactly one CAS from FREE; hdr carries the claimer's uid.
//   [SL-2] A block that is PRIV is named by the nw of its claimer, or its page is DRAIN, or it is
//          linked and not settled yet.
//   [SL-3] Quiescent and scrubbed: hdr FREE <=> free bit set.
//   [SL-4] RUN_HEAD(n) is followed by n - 1 TAILs with distances 1 .. n - 1.
//   [SL-5] Kinds INIT, CLAIM, DRAIN name a living client, or one whose recovery is not over.
//   [SL-6] A page that a client's `page` word names does not change its class: whoever frees blocks
//          by what it read of a page (reclaim_page) holds it, and its CAS meets an hdr word only.
//
// Orders
//   A1 is seq_cst and D2 a seq_cst fence: either the drainer sees nw, or the allocator sees DRAIN.
//   F1, F2 (seq_cst), F3's load pair with a taker that clears the bit (seq_cst RMW) and looks at hdr
//   behind it: the freer lists the block again, or the taker finds it free [SL-3].
//   A3 acq_rel and a release fence before A4: a reader that sees a byte of A4 sees A3's uid when it
//   checks hdr behind its acquire fence, and discards its copy.
//
// Killed between     what is left                 who repairs (slab_repair_after)
//   A1, A3           nothing
//   bits, A3         FREE blocks without bits      scrub
//   A3, install      PRIV block named by nw        -> ABORTED -> reclaimed
//   F1, F3           FREE block without bit        scrub
//   P1, P3 / U1, U4  INIT / CLAIM pages            -> FREE
//   K1, the reverse  pages kept for runs           nobody needs to; the next supervisor counts them
//   D1, D4           DRAIN page                    PRIV(uid of the dead) -> FREE, page -> SLAB
//   V1, V3           DRAIN run                     finished if hdr is FREE, else undone (the dead
//                                                  one's look at hazards may be of a life before)
#pragma once

#include <algorithm>
#include <cstdint>

#include "clients/clients.hpp"
#include "mem/crash_point.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

struct Block {
  std::uint64_t unit = 0;  // 0: none
  std::uint64_t uid = 0;
};

/// Bytes of the block that holds a record of this many bytes (header included).
[[nodiscard]] inline std::uint64_t block_bytes_for(const View& view, std::uint64_t record_bytes) noexcept {
  const unsigned size_class = layout::class_of(record_bytes);
  return size_class < view.shape.classes ? layout::kClassBytes[size_class]
                                         : base::align_up(record_bytes, view.shape.page_bytes);
}

/// Bytes of the block that a record lies in, by its page: what it keeps from others. 0: in no block.
[[nodiscard]] inline std::uint64_t block_bytes_at(const View& view, std::uint64_t unit) noexcept {
  using layout::PageWord;
  const std::uint64_t word = view.pages[view.page_of(unit)].load_acquire();
  if (PageWord::kind(word) == PageWord::kRunHead) {
    return std::min<std::uint64_t>(PageWord::Length::get(word), view.shape.page_count) * view.shape.page_bytes;
  }
  const std::uint64_t size_class = PageWord::Class::get(word);
  return PageWord::kind(word) == PageWord::kSlab && size_class < view.shape.classes ? layout::kClassBytes[size_class] : 0;
}

/// A1-A3. False when the block's page is not a slab of the class any more or the block is taken.
inline bool try_claim(Context& context, unsigned size_class, std::uint64_t unit, std::uint64_t uid) noexcept {
  const View& view = *context.view;
  Client& me = *context.me;
  me.nw_uid.store_relaxed(uid);
  me.nw.store_seq_cst(unit);  // A1: the store -> load pair of [SL-1] with D2
  const std::uint64_t page = view.page_of(unit);
  const std::uint64_t word = view.pages[page].load_seq_cst();
  if (layout::PageWord::kind(word) != layout::PageWord::kSlab || layout::PageWord::Class::get(word) != size_class) {
    return false;
  }
  // A damaged slot may have named a block where none begins: what is built in it must not leave the page.
  if (unit + layout::kClassBytes[size_class] / layout::kOffsetUnit > view.page_unit(page + 1)) return false;
  Record& record = view.record_at(unit);
  std::uint64_t hdr = record.hdr.load_acquire();
  CACHEE_CRASH_POINT("slab.alloc.named");
  if (layout::Hdr::state(hdr) != layout::RecordState::free) return false;
  if (!record.hdr.cas_acq_rel(hdr, layout::Hdr::make(uid, layout::RecordState::priv))) return false;  // A3
  CACHEE_CRASH_POINT("slab.alloc.claimed");
  mem::fence_release();  // before A4's first store
  return true;
}

/// The lines that the next write fills: a store that waits for its line would hold up the next locked instruction.
inline void prefetch_for_write(const View& view, std::uint64_t unit) noexcept {
  const auto* at = reinterpret_cast<const std::byte*>(&view.record_at(unit));
  __builtin_prefetch(at, 1);
  __builtin_prefetch(at + base::kCacheLineBytes, 1);
}

/// A block of this thread's own list, and asks for the lines of the next one; 0: there is none that can be had.
inline std::uint64_t claim_own(Context& context, unsigned size_class, std::uint64_t uid) noexcept {
  auto& own = context.free_blocks[size_class];
  while (!own.empty()) {
    const std::uint64_t unit = own.back();
    own.pop_back();
    if (!own.empty()) prefetch_for_write(*context.view, own.back());
    if (try_claim(context, size_class, unit, uid)) [[likely]] return unit;
  }
  return 0;
}
/// allocate() when the thread's own list has nothing.
[[nodiscard]] Block allocate_from_pages(Context& context, std::uint64_t record_bytes, std::uint64_t uid) noexcept;
/// Claims a block for a record of `record_bytes`; its unit is in the caller's nw. Unit 0: none free.
[[nodiscard]] inline Block allocate(Context& context, std::uint64_t record_bytes) noexcept {
  const std::uint64_t uid = context.next_uid();
  const unsigned size_class = layout::class_of(record_bytes);
  if (size_class < context.view->shape.classes) [[likely]] {
    if (const std::uint64_t unit = claim_own(context, size_class, uid)) [[likely]] return {unit, uid};
  }
  return allocate_from_pages(context, record_bytes, uid);
}

constexpr std::uint64_t bit_of(std::uint64_t i) noexcept { return std::uint64_t{1} << (i % 64); }

inline Word& available_word(const View& view, std::uint64_t size_class, std::uint64_t page) noexcept {
  return view.available[size_class * view.available_words + page / 64];
}
inline void set_available(const View& view, std::uint64_t size_class, std::uint64_t page) noexcept {
  Word& w = available_word(view, size_class, page);
  if ((w.load_relaxed() & bit_of(page)) == 0) w.fetch_or(bit_of(page));
}

/// Which bit of a slab page's bitmaps is a block's; `word` is that of the page.
inline std::uint64_t bit_index(const View& view, std::uint64_t unit, std::uint64_t page, std::uint64_t word) noexcept {
  return layout::block_index(static_cast<unsigned>(layout::PageWord::Class::get(word)),
                             (unit - view.page_unit(page)) * layout::kOffsetUnit);
}
/// F2, F3 for a block whose hdr was just set to FREE; `word` is that of its page, a slab.
inline void note_freed(const View& view, std::uint64_t unit, std::uint64_t page, std::uint64_t word) noexcept {
  const std::uint64_t index = bit_index(view, unit, page, word);
  Word& bits = view.free_bits[page * view.bit_words + index / 64];
  if ((bits.load_seq_cst() & bit_of(index)) == 0) bits.fetch_or(bit_of(index));
  set_available(view, layout::PageWord::Class::get(word), page);
}
/// Asks for the line that note_freed() will look at: of many blocks at once, so that the misses overlap.
inline void prefetch_free_bit(const View& view, std::uint64_t unit) noexcept {
  const std::uint64_t page = view.page_of(unit);
  const std::uint64_t word = view.pages[page].load_relaxed();
  if (layout::PageWord::kind(word) != layout::PageWord::kSlab || layout::PageWord::Class::get(word) >= view.shape.classes) return;
  __builtin_prefetch(&view.free_bits[page * view.bit_words + bit_index(view, unit, page, word) / 64], 1);
}

/// Puts what is left of this thread's own lists back on the lists of all, before it ends.
void list_own_blocks(Context& context) noexcept;

/// V1-V3 for a run whose hdr is `hdr` (RETIRED or ABORTED) and unprotected. False: somebody else did.
bool free_run(const View& view, std::uint32_t client, std::uint64_t unit, std::uint64_t hdr) noexcept;

/// Keeps a free page for runs, or gives it to all again. Nothing when the page is not free any more.
void keep_page(const View& view, std::uint64_t page, bool kept) noexcept;

/// Gives an entirely free page back to the pool (D1-D4). False when it is in use.
bool drain_page(Context& context, std::uint64_t page) noexcept;

/// Sets free bits that are missing for blocks of this page. Returns how many.
std::uint64_t refresh_page_bits(const View& view, std::uint64_t page) noexcept;

/// What a dead client left in the page table.
void slab_repair_after(const View& view, std::uint32_t client) noexcept;

/// Calls f(unit, record) for every block of a page that may hold a record.
template <class F>
void for_each_block(const View& view, std::uint64_t page, F&& f) {
  const std::uint64_t word = view.pages[page].load_seq_cst();  // behind the store of a hold [SL-6]
  const auto kind = layout::PageWord::kind(word);
  const std::uint64_t first = view.page_unit(page);
  if (kind == layout::PageWord::kRunHead) {
    f(first, view.record_at(first));
  } else if (kind == layout::PageWord::kSlab) {
    const auto size_class = static_cast<unsigned>(layout::PageWord::Class::get(word));
    if (size_class >= view.shape.classes) return;
    const std::uint64_t block = layout::kClassBytes[size_class];
    for (std::uint64_t i = 0; i < view.shape.page_bytes / block; ++i) {
      const std::uint64_t unit = first + i * (block / layout::kOffsetUnit);
      f(unit, view.record_at(unit));
    }
  }
}

}  // namespace cachee::shm
