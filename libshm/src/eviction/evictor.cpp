#include <algorithm>

#include "eviction/eviction.hpp"
#include "eviction/score.hpp"
#include "keyspace/keyspace.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::PageWord;
using layout::RecordState;

namespace {

constexpr std::uint64_t kReserveShare = 100;    // the high watermark: 1/100 of a class's blocks are free
constexpr std::uint64_t kBlocksTriedMax = 16;   // of a class that windows do not meet
constexpr std::uint64_t kEpochsKeptPerStep = 64;

std::uint64_t high_mark(std::uint64_t blocks) noexcept { return std::max<std::uint64_t>(1, blocks / kReserveShare); }
std::uint64_t low_mark(std::uint64_t blocks) noexcept { return high_mark(blocks) / 2; }

/// Pages that are kept free by moving what is in half-empty ones, without evicting anything.
std::uint64_t page_mark(const View& view) noexcept { return std::max<std::uint64_t>(1, view.shape.page_count / 128); }
std::uint64_t blocks_per_page(const View& view, unsigned size_class) noexcept {
  return size_class < view.shape.classes ? view.shape.page_bytes / layout::kClassBytes[size_class] : 1;
}

EvictionPolicy policy_of(const View& view) noexcept {
  return static_cast<EvictionPolicy>(view.header->evict_policy.load_relaxed() & 3);
}

/// Free blocks of a page, at most `enough`. Bits that say so wrongly are cleared on the way, so that
/// nobody looks at them twice.
std::uint64_t count_free(const View& view, std::uint64_t page, unsigned size_class, std::uint64_t enough) noexcept {
  const std::uint64_t units = layout::kClassBytes[size_class] / layout::kOffsetUnit;
  std::uint64_t free = 0;
  for (std::uint64_t w = 0; w < view.bit_words && free < enough; ++w) {
    Word& bits = view.free_bits[page * view.bit_words + w];
    for (std::uint64_t word = bits.load_relaxed(); word != 0 && free < enough; word &= word - 1) {
      const std::uint64_t bit = word & (~word + 1);
      const std::uint64_t unit = view.page_unit(page) + (w * 64 + static_cast<std::uint64_t>(__builtin_ctzll(word))) * units;
      const Record* record = view.record(unit);
      if (record != nullptr && Hdr::state(record->hdr.load_relaxed()) == RecordState::free) {
        ++free;
        continue;
      }
      bits.fetch_and(~bit);
      // [SL-3] it may have become free between the two: then the bit is ours to set again.
      if (record != nullptr && Hdr::state(record->hdr.load_seq_cst()) == RecordState::free) bits.fetch_or(bit);
    }
  }
  return free;
}

std::uint64_t count_bits(const View& view, const Word* bits, std::uint64_t page) noexcept {
  std::uint64_t count = 0;
  for (std::uint64_t w = 0; w < view.bit_words; ++w) {
    count += static_cast<std::uint64_t>(__builtin_popcountll(bits[page * view.bit_words + w].load_relaxed()));
  }
  return count;
}

}  // namespace

Evictor::Counts Evictor::count(const View& view) const noexcept {
  Counts counts;
  std::uint64_t gone = 0;
  const auto add = [&](const Word* stats) {
    counts.allocations += stats[layout::kSets].load_relaxed();
    counts.inserts += stats[layout::kInserts].load_relaxed();
    gone += stats[layout::kDeletes].load_relaxed() + stats[layout::kExpired].load_relaxed() + stats[layout::kEvicted].load_relaxed();
  };
  add(view.header->gone_stats);
  const std::uint64_t used = std::min<std::uint64_t>(view.header->clients_used.load_acquire(), view.shape.clients_max);
  for (std::uint64_t c = 0; c < used; ++c) add(view.clients[c].stats);
  // A kill between an effect and its count leaves this one off: it only paces epochs.
  counts.keys = counts.inserts > gone ? counts.inserts - gone : 0;
  return counts;
}

void Evictor::advance_epoch(const View& view, const Counts& counts) noexcept {
  if (!counting_) {
    counting_ = true;
    inserts_ = counts.inserts;
    return;
  }
  const std::uint64_t length = std::max<std::uint64_t>(1, counts.keys / kEpochsPerTurnover);
  const std::uint64_t epochs = std::min((counts.inserts - inserts_) / length, kEpochsKeptPerStep);
  if (epochs == 0) return;
  inserts_ = epochs == kEpochsKeptPerStep ? counts.inserts : inserts_ + epochs * length;
  SegmentHeader& header = *view.header;
  header.evict_epoch.store_relaxed(header.evict_epoch.load_relaxed() + epochs);
}

void Evictor::survey(Context& context) noexcept {
  const View& view = *context.view;
  const unsigned runs = view.shape.classes;
  for (Class& c : classes_) c.pages = c.blocks = c.free = c.waiting = 0;
  free_pages_ = 0;
  const auto class_of_page = [&](std::uint64_t word) -> unsigned {
    if (PageWord::kind(word) == PageWord::kSlab && PageWord::Class::get(word) < runs) return static_cast<unsigned>(PageWord::Class::get(word));
    return runs;
  };
  for (std::uint64_t p = 0; p < view.shape.page_count; ++p) {
    const std::uint64_t word = view.pages[p].load_relaxed();
    const bool free = PageWord::kind(word) == PageWord::kFree;
    if (free) {
      ++free_pages_;
      continue;
    }
    Class& c = classes_[class_of_page(word)];
    ++c.pages;
    c.blocks += class_of_page(word) == runs ? 1 : view.shape.page_bytes / layout::kClassBytes[class_of_page(word)];
  }
  for (const RetiredBlock& block : context.retired) ++classes_[class_of_page(view.pages[view.page_of(block.unit)].load_relaxed())].waiting;
  // While there are many free pages nobody is short.
  if (free_pages_ > 2 * page_mark(view)) return set_headroom(view);
  for (std::uint64_t p = 0; p < view.shape.page_count; ++p) {
    const unsigned size_class = class_of_page(view.pages[p].load_relaxed());
    if (size_class == runs) continue;
    Class& c = classes_[size_class];
    const std::uint64_t enough = 4 * high_mark(c.blocks) + 64 + blocks_per_page(view, size_class);
    if (c.free < enough) c.free += count_free(view, p, size_class, enough - c.free);
    c.waiting += count_bits(view, view.hint_bits, p);
  }
  set_headroom(view);
}

void Evictor::set_headroom(const View& view) noexcept {
  std::uint64_t least = ~std::uint64_t{0};
  if (free_pages_ > 2 * page_mark(view)) {
    least = 0;
  } else {
    for (unsigned size_class = 0; size_class < view.shape.classes; ++size_class) {
      const Class& c = classes_[size_class];
      const std::uint64_t low = low_mark(c.blocks);
      if (c.blocks > 0) least = std::min(least, c.free > low ? c.free - low : 0);
    }
  }
  headroom_ = least + free_pages_ < least ? least : least + free_pages_;
}

std::uint64_t Evictor::deficit(const View& view, unsigned size_class) const noexcept {
  const Class& c = classes_[size_class];
  const std::uint64_t there = c.free + c.waiting + free_pages_ * blocks_per_page(view, size_class);
  if (c.blocks == 0 || there > low_mark(c.blocks)) return 0;
  return high_mark(c.blocks) - there;
}

bool Evictor::evict_in_pages(Context& context, EvictionPolicy policy, unsigned size_class) noexcept {
  const View& view = *context.view;
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  Linked best;
  std::int32_t best_score = 0;
  std::uint64_t seen = 0;
  for (std::uint64_t n = 0; n < view.shape.page_count && seen < kBlocksTriedMax; ++n) {
    const std::uint64_t page = page_cursor_++ % view.shape.page_count;
    const std::uint64_t word = view.pages[page].load_relaxed();
    const bool run = PageWord::kind(word) == PageWord::kRunHead;
    if (!run && (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) != size_class)) continue;
    if (run != (size_class == view.shape.classes)) continue;
    for_each_block(view, page, [&](std::uint64_t unit, Record& record) {
      if (seen >= kBlocksTriedMax || Hdr::state(record.hdr.load_acquire()) == RecordState::free) return;
      const Linked found = find_by_key(view, unit);
      if (found.slot == nullptr) return;
      ++seen;
      const std::uint64_t bytes = run ? PageWord::Length::get(word) * view.shape.page_bytes : layout::kClassBytes[size_class];
      const std::int32_t score = score_of(found.heat, epoch, std::max<std::uint64_t>(1, bytes), policy);
      if (best.slot != nullptr && score >= best_score) return;
      best = found;
      best_score = score;
    });
  }
  return best.slot != nullptr && evict_slot(context, best.bucket, *best.slot, best.word);
}

bool Evictor::evict_of_class(Context& context, EvictionPolicy policy, unsigned size_class, bool note) noexcept {
  const View& view = *context.view;
  const Window window = look_for(view, policy, size_class);
  if (note && window.any) {
    const auto bytes = static_cast<std::int64_t>(size_class < view.shape.classes ? layout::kClassBytes[size_class] : view.shape.page_bytes);
    classes_[window.any->size_class].owed_bytes += bytes;
    classes_[size_class].owed_bytes -= bytes;
  }
  if (window.of_class) return evict_slot(context, window.of_class->bucket, *window.of_class->slot, window.of_class->word);
  return evict_in_pages(context, policy, size_class);
}

std::uint64_t Evictor::move_page(Context& context, EvictionPolicy policy, unsigned taker) noexcept {
  const View& view = *context.view;
  const auto page_bytes = static_cast<std::int64_t>(view.shape.page_bytes);
  const bool needs_one = classes_[taker].blocks == 0;
  unsigned giver = taker;
  for (unsigned c = 0; c <= view.shape.classes; ++c) {
    if (c == taker || classes_[c].pages == 0) continue;
    if (giver == taker || classes_[c].owed_bytes > classes_[giver].owed_bytes ||
        (classes_[c].owed_bytes == classes_[giver].owed_bytes && classes_[c].pages > classes_[giver].pages)) {
      giver = c;
    }
  }
  if (giver == taker || (!needs_one && classes_[giver].owed_bytes < page_bytes)) return 0;
  Class& from = classes_[giver];
  from.owed_bytes -= page_bytes;
  classes_[taker].owed_bytes += page_bytes;
  std::uint64_t evicted = 0;
  if (giver == view.shape.classes) {
    evicted = evict_of_class(context, policy, giver, false) ? 1 : 0;
    reclaim_retired(context);
    return evicted;
  }
  const std::uint64_t blocks = blocks_per_page(view, giver);
  const std::uint64_t wanted = blocks + low_mark(from.blocks);
  for (std::uint64_t tries = 0; from.free < wanted && tries < 2 * blocks; ++tries) {
    if (!evict_of_class(context, policy, giver, false)) continue;
    ++evicted;
    ++from.free;
    if (context.retired.size() >= kRetiredBatch) reclaim_retired(context);
  }
  reclaim_retired(context);
  static_cast<void>(vacate_emptiest(context, giver));
  return evicted;
}

bool Evictor::vacate_emptiest(Context& context, unsigned size_class) noexcept {
  const View& view = *context.view;
  std::uint64_t emptiest = view.shape.page_count;
  std::uint64_t most_free = 0;
  for (std::uint64_t n = 0; n < view.shape.page_count; ++n) {
    const std::uint64_t page = (page_cursor_ + n) % view.shape.page_count;
    const std::uint64_t word = view.pages[page].load_relaxed();
    if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) != size_class) continue;
    const std::uint64_t free = count_bits(view, view.free_bits, page);
    if (emptiest != view.shape.page_count && free <= most_free) continue;
    emptiest = page;
    most_free = free;
  }
  if (emptiest == view.shape.page_count) return false;
  page_cursor_ = emptiest + 1;  // another one next time, should this one be in use
  if (!vacate_page(context, emptiest)) return false;
  const std::uint64_t blocks = blocks_per_page(view, size_class);
  Class& from = classes_[size_class];
  ++free_pages_;
  --from.pages;
  from.blocks -= blocks;
  from.free -= std::min(from.free, blocks);
  return true;
}

std::uint64_t Evictor::step(Context& context, std::uint64_t count_max) noexcept {
  const View& view = *context.view;
  SegmentHeader& header = *view.header;
  const Counts counts = count(view);
  advance_epoch(view, counts);
  const EvictionPolicy policy = policy_of(view);
  if (policy == EvictionPolicy::none) return 0;
  const std::uint64_t wanted = header.memory_wanted.load_relaxed();
  if (wanted == 0 && counts.allocations - allocations_ < headroom_) return 0;
  allocations_ = counts.allocations;
  survey(context);
  if (wanted != 0) header.memory_wanted.store_relaxed(0);
  const unsigned runs = view.shape.classes;
  std::uint64_t evicted = 0;
  for (unsigned size_class = 0; size_class < runs && evicted < count_max; ++size_class) {
    const bool needs_page = wanted == size_class + 1 && classes_[size_class].blocks == 0;
    const std::uint64_t short_of = deficit(view, size_class);
    if (short_of == 0 && !needs_page) continue;
    std::uint64_t went = 0;
    for (std::uint64_t n = 0; n < 2 * short_of && went < short_of && evicted < count_max; ++n) {
      if (!evict_of_class(context, policy, size_class, true)) continue;
      ++went;
      ++evicted;
      if (context.retired.size() >= kRetiredBatch) reclaim_retired(context);
    }
    classes_[size_class].free += went;
    if (free_pages_ == 0) evicted += move_page(context, policy, size_class);
  }
  reclaim_retired(context);
  // One half-empty page a step is enough: there is time until somebody needs it.
  for (unsigned size_class = 0; size_class < runs && free_pages_ < page_mark(view); ++size_class) {
    const Class& c = classes_[size_class];
    const std::uint64_t blocks = blocks_per_page(view, size_class);
    if (c.blocks > 0 && c.free >= blocks + high_mark(c.blocks) && vacate_emptiest(context, size_class)) {
      headroom_ = 0;
      return evicted;
    }
  }
  // Whatever is left to do is done at the next step.
  if (evicted < count_max) {
    set_headroom(view);
  } else {
    headroom_ = 0;
  }
  return evicted;
}

}  // namespace cachee::shm
