#include "reclaim/reclaim.hpp"

#include <algorithm>

#include "mem/crash_point.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::EventWord;
using layout::Hdr;
using layout::PageWord;
using layout::RecordState;

namespace {

constexpr std::size_t kFreeBlocksKeptMax = 256;  // of one class in one thread's list

/// [SL-6]: while it lives, the page is not drained, so what was read of its blocks stays about them.
class PageHold {
 public:
  PageHold(Context& context, std::uint64_t page) noexcept : word_{context.me->page} { word_.store_seq_cst(page + 1); }
  PageHold(const PageHold&) = delete;
  PageHold& operator=(const PageHold&) = delete;
  ~PageHold() { word_.store_release(0); }

 private:
  Word& word_;
};

/// Q1: out of use, and no event needs it.
bool reclaimable(const View& view, std::uint64_t unit, std::uint64_t hdr) noexcept {
  switch (Hdr::state(hdr)) {
    case RecordState::retired: return events_done(view, unit);
    // Never was in the index, so no event names it; its event words may be bytes of the block's
    // life before, when the claimer died before it filled the block.
    case RecordState::aborted: return true;
    default: return false;
  }
}
bool waits(std::uint64_t hdr) noexcept {
  return Hdr::state(hdr) == RecordState::retired || Hdr::state(hdr) == RecordState::aborted;
}

/// Q2, Q3: everything that is protected now, sorted.
void collect_hazards(Context& context) noexcept {
  const View& view = *context.view;
  auto& hazards = context.hazards;
  hazards.clear();
  mem::fence_seq_cst();
  const std::uint64_t used = std::min<std::uint64_t>(view.header->clients_used.load_seq_cst(), view.shape.clients_max);
  for (std::uint64_t c = 0; c < used; ++c) {
    const Client& client = view.clients[c];
    for (const Word* w : {&client.nw, &client.old, &client.hz}) {
      if (const std::uint64_t unit = w->load_acquire(); unit != 0) hazards.push_back(unit);
    }
    for (const Word& pin : client.pins) {
      if (const std::uint64_t unit = pin.load_acquire(); unit != 0) hazards.push_back(unit);
    }
  }
  std::sort(hazards.begin(), hazards.end());
}

/// Q4 for one unprotected block, then back to its page or this thread's list.
bool free_block(Context& context, std::uint64_t unit, std::uint64_t hdr) noexcept {
  const View& view = *context.view;
  const std::uint64_t page = view.page_of(unit);
  const std::uint64_t word = view.pages[page].load_acquire();
  if (PageWord::kind(word) == PageWord::kRunHead) return free_run(view, context.id, unit, hdr);
  const std::uint64_t size_class = PageWord::Class::get(word);
  if (PageWord::kind(word) != PageWord::kSlab || size_class >= view.shape.classes) return false;
  if (!view.record_at(unit).hdr.cas_seq_cst(hdr, Hdr::with(hdr, RecordState::free))) return false;
  CACHEE_CRASH_POINT("reclaim.freed");
  note_freed(view, unit, page, word);
  auto& own = context.free_blocks[size_class];
  if (own.size() < kFreeBlocksKeptMax) own.push_back(unit);
  return true;
}

}  // namespace

/// The successor is not replaced before it is paid, nor reused before its event is released; so if its
/// block is another record's by now, the event is gone. What is read of a block in between says "not
/// yet".
bool successor_done(const View& view, std::uint64_t unit, std::uint64_t next_unit) noexcept {
  const Record* next = view.record(next_unit);
  if (next == nullptr || Hdr::state(next->hdr.load_acquire()) == RecordState::free) return true;
  if (layout::LinkWord::Prev::get(next->link.load_relaxed()) != unit) return true;
  const std::uint64_t ev = next->ev.load_acquire();
  return EventWord::state(ev) == EventWord::kConfirmed && event_done(view, ev);
}

void abort_block(Context& context, std::uint64_t unit, std::uint64_t uid) noexcept {
  Record& record = *context.view->record(unit);
  const std::uint64_t priv = Hdr::make(uid, RecordState::priv);
  const std::uint64_t aborted = Hdr::make(uid, RecordState::aborted);
  if (record.hdr.cas(priv, aborted)) context.retired.push_back({unit, aborted, 0});
}

std::uint64_t reclaim_retired(Context& context) noexcept {
  const View& view = *context.view;
  if (context.retired.empty()) return 0;
  collect_hazards(context);
  const std::uint64_t head = view.header->ring_head.load_acquire();
  for (const RetiredBlock block : context.retired) {
    if (block.due <= head) prefetch_free_bit(view, block.unit);
  }
  std::uint64_t freed = 0;
  std::size_t kept = 0;
  for (const RetiredBlock block : context.retired) {
    if (block.due > head) {  // without a look at its line, which has long left the cache
      context.retired[kept++] = block;
      continue;
    }
    const Record& record = view.record_at(block.unit);
    if (record.hdr.load_acquire() != block.hdr) continue;  // somebody else freed it
    // [SL-6] And may free it now, and the page may get another use: then Q4 must not meet a value.
    const PageHold hold{context, view.page_of(block.unit)};
    if (record.hdr.load_seq_cst() != block.hdr) continue;
    const bool held = std::binary_search(context.hazards.begin(), context.hazards.end(), block.unit);
    // Q1's reads of ev and rm must be of this life of the block: Q4 proves it.
    if (!held && reclaimable(view, block.unit, block.hdr) && free_block(context, block.unit, block.hdr)) {
      ++freed;
    } else {
      context.retired[kept++] = block;
    }
  }
  context.retired.resize(kept);
  if (kept > kRetiredKeptMax) publish_retired(context);
  context.reclaim_at = context.retired.size() + kRetiredBatch;
  return freed;
}

void publish_hint(const View& view, std::uint64_t unit) noexcept {
  const std::uint64_t page = view.page_of(unit);
  const std::uint64_t word = view.pages[page].load_acquire();
  std::uint64_t index = 0;
  if (PageWord::kind(word) == PageWord::kSlab && PageWord::Class::get(word) < view.shape.classes) {
    index = bit_index(view, unit, page, word);
  }
  view.hint_bits[page * view.bit_words + index / 64].fetch_or(std::uint64_t{1} << (index % 64));
}

void publish_retired(Context& context) noexcept {
  for (const RetiredBlock block : context.retired) publish_hint(*context.view, block.unit);
  context.retired.clear();
}

void give_back(Context& context) noexcept {
  reclaim_retired(context);
  publish_retired(context);
  list_own_blocks(context);
}

std::uint64_t reclaim_page(Context& context, std::uint64_t page, bool all) noexcept {
  const View& view = *context.view;
  Word* hints = view.hint_bits + page * view.bit_words;
  if (!all) {
    bool any = false;
    for (std::uint64_t w = 0; w < view.bit_words && !any; ++w) any = hints[w].load_relaxed() != 0;
    if (!any) return 0;
  }
  std::vector<RetiredBlock> found;
  const PageHold hold{context, page};
  std::uint64_t index = 0;
  for_each_block(view, page, [&](std::uint64_t unit, Record& record) {
    const std::uint64_t i = index++;
    const bool hinted = (hints[i / 64].load_relaxed() >> (i % 64) & 1) != 0;
    if (!all && !hinted) return;
    const std::uint64_t hdr = record.hdr.load_acquire();
    if (reclaimable(view, unit, hdr)) {
      found.push_back({unit, hdr, 0});
    } else if (hinted && !waits(hdr)) {
      hints[i / 64].fetch_and(~(std::uint64_t{1} << (i % 64)));
      if (waits(record.hdr.load_seq_cst())) hints[i / 64].fetch_or(std::uint64_t{1} << (i % 64));
    }
  });
  if (found.empty()) return 0;
  collect_hazards(context);
  std::uint64_t freed = 0;
  for (const RetiredBlock block : found) {
    if (std::binary_search(context.hazards.begin(), context.hazards.end(), block.unit)) continue;
    freed += free_block(context, block.unit, block.hdr) ? 1 : 0;
  }
  return freed;
}

}  // namespace cachee::shm
