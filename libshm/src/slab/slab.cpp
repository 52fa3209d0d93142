#include "slab/slab.hpp"

#include <algorithm>
#include <bit>

#include "mem/crash_point.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::kClassBytes;
using layout::PageWord;
using layout::RecordState;

namespace {

void release_page(const View& view, std::uint64_t page) noexcept {
  // seq_cst: this store before set_available's load; who clears the bit looks at the page behind it.
  view.pages[page].store_seq_cst(PageWord::make(PageWord::kFree, 0, 0, 0));
  set_available(view, view.shape.classes, page);
}

constexpr int kGapsTriedMax = 16;  // for one run, when others take pages of them
constexpr int kShareMax = 16;  // free blocks that a thread takes off a page's list at once

/// The lowest blocks of a word of free bits that one thread takes at once: the more of them there are, the more.
/// Where memory is short it takes one, so that nobody keeps from others what they need.
std::uint64_t share_of(std::uint64_t word) noexcept {
  const int count = std::clamp(std::popcount(word) / 4, 1, kShareMax);
  std::uint64_t rest = word;
  for (int i = 0; i < count; ++i) rest &= rest - 1;
  return word & ~rest;
}

std::uint64_t claim_in_page(Context& context, unsigned size_class, std::uint64_t page, std::uint64_t uid) noexcept {
  const View& view = *context.view;
  const std::uint64_t blocks = view.shape.page_bytes / kClassBytes[size_class];
  const std::uint64_t block_units = kClassBytes[size_class] / layout::kOffsetUnit;
  Word* bits = view.free_bits + page * view.bit_words;
  auto& own = context.free_blocks[size_class];
  for (std::uint64_t w = 0; w * 64 < blocks; ++w) {
    while (const std::uint64_t word = bits[w].load_relaxed()) {
      const std::uint64_t share = share_of(word);
      // [SL-3] off the list before the look at each block: one that is freed between the two is listed again, or
      // found free by the look.
      std::uint64_t taken = bits[w].fetch_and(~share) & share;
      const std::uint64_t first = view.page_unit(page) + w * 64 * block_units;
      // The lowest is claimed now and the others, of which it is the neighbour, come next.
      while (taken != 0) {
        const auto i = static_cast<std::uint64_t>(std::bit_width(taken) - 1);
        taken ^= bit_of(i);
        if (w * 64 + i < blocks) own.push_back(first + i * block_units);
      }
      if (const std::uint64_t unit = claim_own(context, size_class, uid)) return unit;
      if (PageWord::kind(view.pages[page].load_acquire()) != PageWord::kSlab) return 0;
    }
  }
  // Nothing here: take the page off the list, unless something came back meanwhile.
  Word& available = available_word(view, size_class, page);
  available.fetch_and(~bit_of(page));
  for (std::uint64_t w = 0; w * 64 < blocks; ++w) {
    if (bits[w].load_seq_cst() != 0) {
      available.fetch_or(bit_of(page));
      break;
    }
  }
  return 0;
}

/// P1-P3. Returns the page + 1, or 0.
std::uint64_t take_free_page(Context& context, unsigned size_class) noexcept {
  const View& view = *context.view;
  Word* row = view.available + view.shape.classes * view.available_words;
  for (std::uint64_t n = 0; n < view.available_words; ++n) {
    const std::uint64_t w = (context.scan_cursor / 64 + n) % view.available_words;
    for (std::uint64_t word = row[w].load_relaxed(); word != 0; word &= word - 1) {
      const std::uint64_t page = w * 64 + static_cast<std::uint64_t>(__builtin_ctzll(word));
      if (page >= view.shape.page_count) break;
      std::uint64_t seen = view.pages[page].load_acquire();
      if (PageWord::is_kept(seen)) continue;
      if (PageWord::kind(seen) != PageWord::kFree ||
          !view.pages[page].cas_acq_rel(seen, PageWord::make(PageWord::kInit, size_class, context.id, 0))) {
        row[w].fetch_and(~bit_of(page));
        if (PageWord::kind(view.pages[page].load_seq_cst()) == PageWord::kFree) row[w].fetch_or(bit_of(page));
        continue;
      }
      CACHEE_CRASH_POINT("slab.page.claimed");
      row[w].fetch_and(~bit_of(page));
      const std::uint64_t blocks = view.shape.page_bytes / kClassBytes[size_class];
      for (std::uint64_t i = 0; i < blocks; ++i) {
        const std::uint64_t unit = view.page_unit(page) + i * (kClassBytes[size_class] / layout::kOffsetUnit);
        view.record_at(unit).hdr.store_relaxed(Hdr::make(0, RecordState::free));
      }
      Word* bits = view.free_bits + page * view.bit_words;
      for (std::uint64_t b = 0; b < view.bit_words; ++b) {
        const std::uint64_t left = blocks > b * 64 ? blocks - b * 64 : 0;
        bits[b].store_relaxed(left >= 64 ? ~std::uint64_t{0} : base::low_mask(static_cast<unsigned>(left)));
        view.hint_bits[page * view.bit_words + b].store_relaxed(0);
      }
      // P3: publishes the blocks' states; pairs with the load in try_claim().
      view.pages[page].store_release(PageWord::make(PageWord::kSlab, size_class, 0, 0));
      CACHEE_CRASH_POINT("slab.page.ready");
      set_available(view, size_class, page);
      CACHEE_CRASH_POINT("slab.page.offered");
      context.scan_cursor = page;
      return page + 1;
    }
  }
  return 0;
}

std::uint64_t claim_in_class(Context& context, unsigned size_class, std::uint64_t uid) noexcept {
  const View& view = *context.view;
  if (const std::uint32_t page = context.page_of_class[size_class]; page != 0) {
    const std::uint64_t word = view.pages[page - 1].load_acquire();
    if (PageWord::kind(word) == PageWord::kSlab && PageWord::Class::get(word) == size_class) {
      if (const std::uint64_t unit = claim_in_page(context, size_class, page - 1, uid)) return unit;
    }
  }
  Word* row = view.available + size_class * view.available_words;
  for (std::uint64_t n = 0; n < view.available_words; ++n) {
    const std::uint64_t w = (context.scan_cursor / 64 + n) % view.available_words;
    for (std::uint64_t word = row[w].load_relaxed(); word != 0; word &= word - 1) {
      const std::uint64_t page = w * 64 + static_cast<std::uint64_t>(__builtin_ctzll(word));
      if (page >= view.shape.page_count) break;
      const std::uint64_t kind = view.pages[page].load_acquire();
      if (PageWord::kind(kind) != PageWord::kSlab || PageWord::Class::get(kind) != size_class) {
        row[w].fetch_and(~bit_of(page));
        continue;
      }
      if (const std::uint64_t unit = claim_in_page(context, size_class, page, uid)) {
        context.page_of_class[size_class] = static_cast<std::uint32_t>(page + 1);
        return unit;
      }
    }
  }
  // A page that was just taken may be used up or drained by others before we find a block in it:
  // then another one. They were successful meanwhile; the bound is for damaged segments.
  for (std::uint64_t tries = 0; tries <= view.shape.page_count; ++tries) {
    const std::uint64_t page = take_free_page(context, size_class);
    if (page == 0) return 0;
    context.page_of_class[size_class] = static_cast<std::uint32_t>(page);
    if (const std::uint64_t unit = claim_in_page(context, size_class, page - 1, uid)) return unit;
  }
  return 0;
}

/// The first page of the shortest gap that so many pages fit into, by a look alone; page_count: there is none. So long
/// gaps stay for long runs.
std::uint64_t find_gap(const View& view, std::uint64_t pages) noexcept {
  const std::uint64_t count = view.shape.page_count;
  const Word* row = view.available + view.shape.classes * view.available_words;
  std::uint64_t best = count;
  std::uint64_t best_length = count + 1;
  std::uint64_t length = 0;
  for (std::uint64_t page = 0; page <= count; ++page) {
    if (page < count && page % 64 == 0 && length == 0 && row[page / 64].load_relaxed() == 0) {
      page += 63;
      continue;
    }
    if (page < count && PageWord::kind(view.pages[page].load_relaxed()) == PageWord::kFree) {
      ++length;
      continue;
    }
    if (length >= pages && length < best_length) {
      best = page - length;
      best_length = length;
    }
    length = 0;
  }
  return best;
}

/// U1. False: somebody else took one of them.
bool claim_gap(Context& context, std::uint64_t head, std::uint64_t pages) noexcept {
  const View& view = *context.view;
  for (std::uint64_t taken = 0; taken < pages; ++taken) {
    std::uint64_t seen = view.pages[head + taken].load_acquire();
    const bool got = PageWord::kind(seen) == PageWord::kFree &&
                     view.pages[head + taken].cas_acq_rel(seen, PageWord::make(PageWord::kRunClaim, 0, context.id, 0));
    CACHEE_CRASH_POINT("slab.run.claiming");
    if (got) continue;
    while (taken > 0) release_page(view, head + --taken);
    return false;
  }
  return true;
}

/// For the supervisor, which keeps a gap for the next one.
void note_run(const View& view, std::uint64_t pages) noexcept {
  SegmentHeader& header = *view.header;
  const auto length = static_cast<std::uint32_t>(pages);
  header.run_pages_taken.fetch_add(length);
  if (header.run_pages_longest.load_relaxed() < length) header.run_pages_longest.store_relaxed(length);
}

std::uint64_t claim_run(Context& context, std::uint64_t pages, std::uint64_t uid) noexcept {
  const View& view = *context.view;
  for (int tries = 0; tries < kGapsTriedMax; ++tries) {
    const std::uint64_t head = find_gap(view, pages);
    if (head == view.shape.page_count) return 0;
    if (!claim_gap(context, head, pages)) continue;
    view.pages[head].store_release(PageWord::make(PageWord::kRunClaim, 0, context.id, pages));
    for (std::uint64_t d = 1; d < pages; ++d) {
      view.pages[head + d].store_release(PageWord::make(PageWord::kRunTail, 0, context.id, d));
    }
    const std::uint64_t unit = view.page_unit(head);
    context.me->nw_uid.store_relaxed(uid);
    context.me->nw.store_seq_cst(unit);
    view.record_at(unit).hdr.store_release(Hdr::make(uid, RecordState::priv));
    CACHEE_CRASH_POINT("slab.run.claimed");
    mem::fence_release();  // before the first byte of the record
    view.pages[head].store_release(PageWord::make(PageWord::kRunHead, 0, context.id, pages));
    Word* row = view.available + view.shape.classes * view.available_words;
    for (std::uint64_t p = head; p < head + pages; ++p) row[p / 64].fetch_and(~bit_of(p));
    note_run(view, pages);
    return unit;
  }
  return 0;
}

/// V3, also for a recoverer.
void release_run(const View& view, std::uint64_t head, std::uint64_t length) noexcept {
  for (std::uint64_t d = 1; d < length && head + d < view.shape.page_count; ++d) {
    const std::uint64_t word = view.pages[head + d].load_acquire();
    const bool ours = (PageWord::kind(word) == PageWord::kRunTail && PageWord::Length::get(word) == d);
    if (ours) release_page(view, head + d);
    CACHEE_CRASH_POINT("slab.run.releasing");
  }
  release_page(view, head);
}

}  // namespace

Block allocate_from_pages(Context& context, std::uint64_t record_bytes, std::uint64_t uid) noexcept {
  const unsigned size_class = layout::class_of(record_bytes);
  const std::uint64_t unit =
      size_class < context.view->shape.classes
          ? claim_in_class(context, size_class, uid)
          : claim_run(context, block_bytes_for(*context.view, record_bytes) / context.view->shape.page_bytes, uid);
  if (unit == 0) {
    context.me->nw.store_release(0);
    context.me->nw_uid.store_relaxed(0);
    return {};
  }
  return {unit, uid};
}

void list_own_blocks(Context& context) noexcept {
  const View& view = *context.view;
  for (unsigned size_class = 0; size_class < view.shape.classes; ++size_class) {
    for (const std::uint64_t unit : context.free_blocks[size_class]) {
      const std::uint64_t page = view.page_of(unit);
      const std::uint64_t word = view.pages[page].load_acquire();
      if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) != size_class) continue;
      if (Hdr::state(view.record_at(unit).hdr.load_acquire()) == RecordState::free) note_freed(view, unit, page, word);
    }
    context.free_blocks[size_class].clear();
  }
}

bool free_run(const View& view, std::uint32_t client, std::uint64_t unit, std::uint64_t hdr) noexcept {
  const std::uint64_t page = view.page_of(unit);
  std::uint64_t word = view.pages[page].load_acquire();
  if (PageWord::kind(word) != PageWord::kRunHead || view.page_unit(page) != unit) return false;
  const std::uint64_t length = PageWord::Length::get(word);
  if (!view.pages[page].cas_acq_rel(word, PageWord::make(PageWord::kDrain, 0, client, length))) return false;  // V1
  CACHEE_CRASH_POINT("slab.run.draining");
  if (!view.record(unit)->hdr.cas(hdr, Hdr::with(hdr, RecordState::free))) {  // V2
    view.pages[page].store_release(word);
    return false;
  }
  CACHEE_CRASH_POINT("slab.run.freed");
  release_run(view, page, length);
  return true;
}

void keep_page(const View& view, std::uint64_t page, bool kept) noexcept {
  const std::uint64_t free = PageWord::make(PageWord::kFree, 0, 0, 0);
  if (!view.pages[page].cas(kept ? free : PageWord::kept(), kept ? PageWord::kept() : free)) return;  // K1
  CACHEE_CRASH_POINT("slab.page.kept");
  if (!kept) set_available(view, view.shape.classes, page);
}

bool drain_page(Context& context, std::uint64_t page) noexcept {
  const View& view = *context.view;
  std::uint64_t word = view.pages[page].load_acquire();
  const auto size_class = static_cast<unsigned>(PageWord::Class::get(word));
  if (PageWord::kind(word) != PageWord::kSlab || size_class >= view.shape.classes) return false;
  // A look before the claim: most pages are not empty.
  bool empty = true;
  for_each_block(view, page, [&](std::uint64_t, Record& r) {
    empty = empty && Hdr::state(r.hdr.load_relaxed()) == RecordState::free;
  });
  if (!empty) return false;
  if (!view.pages[page].cas_seq_cst(word, PageWord::make(PageWord::kDrain, size_class, context.id, 0))) return false;  // D1
  CACHEE_CRASH_POINT("slab.drain.begun");
  mem::fence_seq_cst();  // D2
  const std::uint64_t first = view.page_unit(page);
  const std::uint64_t last = first + view.shape.page_bytes / layout::kOffsetUnit;
  const std::uint64_t used = std::min<std::uint64_t>(view.header->clients_used.load_seq_cst(), view.shape.clients_max);
  for (std::uint64_t c = 0; c < used && empty; ++c) {
    if (c == context.id) continue;
    const std::uint64_t nw = view.clients[c].nw.load_acquire();
    empty = (nw < first || nw >= last) && view.clients[c].page.load_acquire() != page + 1;
  }
  const std::uint64_t uid = context.next_uid();
  const std::uint64_t block = kClassBytes[size_class];
  const std::uint64_t blocks = view.shape.page_bytes / block;
  std::uint64_t taken = 0;
  for (; empty && taken < blocks; ++taken) {  // D3
    Record& r = view.record_at(first + taken * (block / layout::kOffsetUnit));
    std::uint64_t hdr = r.hdr.load_acquire();
    empty = Hdr::state(hdr) == RecordState::free && r.hdr.cas_acq_rel(hdr, Hdr::make(uid, RecordState::priv));
    if (!empty) break;
  }
  CACHEE_CRASH_POINT("slab.drain.taken");
  if (empty) {
    release_page(view, page);  // D4
    return true;
  }
  for (std::uint64_t i = 0; i < taken; ++i) {
    view.record_at(first + i * (block / layout::kOffsetUnit)).hdr.store_release(Hdr::make(uid, RecordState::free));
  }
  view.pages[page].store_release(word);
  refresh_page_bits(view, page);
  return false;
}

std::uint64_t refresh_page_bits(const View& view, std::uint64_t page) noexcept {
  const std::uint64_t word = view.pages[page].load_acquire();
  if (PageWord::kind(word) == PageWord::kFree) {
    set_available(view, view.shape.classes, page);
    return 0;
  }
  if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) >= view.shape.classes) return 0;
  std::uint64_t refreshed = 0;
  for_each_block(view, page, [&](std::uint64_t unit, Record& r) {
    if (Hdr::state(r.hdr.load_acquire()) != RecordState::free) return;
    const std::uint64_t index = bit_index(view, unit, page, word);
    Word& bits = view.free_bits[page * view.bit_words + index / 64];
    if ((bits.load_relaxed() & bit_of(index)) == 0) {
      bits.fetch_or(bit_of(index));
      ++refreshed;
    }
    set_available(view, PageWord::Class::get(word), page);
  });
  return refreshed;
}

void slab_repair_after(const View& view, std::uint32_t client) noexcept {
  for (std::uint64_t page = 0; page < view.shape.page_count; ++page) {
    const std::uint64_t word = view.pages[page].load_acquire();
    if (PageWord::Client::get(word) != client) continue;
    const std::uint64_t length = PageWord::Length::get(word);
    const std::uint64_t unit = view.page_unit(page);
    switch (PageWord::kind(word)) {
      case PageWord::kInit: release_page(view, page); break;
      case PageWord::kRunClaim:
        if (length > 1) {
          release_run(view, page, length);
        } else {
          release_page(view, page);
        }
        break;
      case PageWord::kDrain:
        if (length > 0) {
          Record& r = *view.record(unit);
          const std::uint64_t hdr = r.hdr.load_acquire();
          const RecordState state = Hdr::state(hdr);
          if (state == RecordState::free) {
            release_run(view, page, length);
          } else {
            view.pages[page].store_release(PageWord::make(PageWord::kRunHead, 0, client, length));
          }
        } else {
          const std::uint64_t size_class = PageWord::Class::get(word);
          if (size_class >= view.shape.classes) break;
          const std::uint64_t block = kClassBytes[size_class];
          for (std::uint64_t i = 0; i < view.shape.page_bytes / block; ++i) {
            Record& r = *view.record(unit + i * (block / layout::kOffsetUnit));
            const std::uint64_t hdr = r.hdr.load_acquire();
            if (Hdr::state(hdr) == RecordState::priv && layout::Uid::Client::get(Hdr::Uid::get(hdr)) == client) {
              r.hdr.store_release(Hdr::with(hdr, RecordState::free));
            }
          }
          view.pages[page].store_release(PageWord::make(PageWord::kSlab, size_class, 0, 0));
          refresh_page_bits(view, page);
        }
        break;
      default: break;
    }
  }
}

}  // namespace cachee::shm
