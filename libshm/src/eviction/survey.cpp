// What the supervisor knows before it evicts: how old everything is, what is free, and who is short of it.
#include <algorithm>

#include "clients/stats.hpp"
#include "eviction/evictor.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::PageWord;
using layout::RecordState;

namespace {

constexpr std::uint64_t kReserveShare = 100;       // the high watermark: 1/100 of a class's blocks are free
constexpr std::uint64_t kReserveShareMax = 32;     // and no more of them than this, however fast they are taken
constexpr std::uint64_t kStepsInReserve = 4;       // what is taken in so many steps is kept free
constexpr double kTakenWeight = 1.0 / 16;          // of the last survey in the rate at which they are taken
constexpr std::uint64_t kEpochsKeptPerStep = 64;
constexpr std::uint64_t kEpochsPerTurnoverBytes = 32;  // large values come and go faster than small ones, which set the pace
constexpr std::uint32_t kMissedMax = 1 << 20;      // whatever damage says
constexpr std::uint64_t kLooksOwedMax = 1024;      // so that little is left to do when writers pause

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

std::uint64_t exchange_missed(const View& view, unsigned size_class) noexcept {
  auto& missed = view.header->class_missed[size_class];
  return missed.load_relaxed() == 0 ? 0 : std::min(missed.exchange_seq_cst(0), kMissedMax);
}

}  // namespace

Evictor::Counts Evictor::count(const View& view) const noexcept {
  Counts counts;
  std::uint64_t gone = 0;
  for_each_stats(view, [&](const Word* stats) {
    counts.allocations += stats[layout::kSets].load_relaxed();
    counts.inserts += stats[layout::kInserts].load_relaxed();
    counts.insert_bytes += stats[layout::kInsertBytes].load_relaxed();
    gone += stats[layout::kDeletes].load_relaxed() + stats[layout::kExpired].load_relaxed() + stats[layout::kEvicted].load_relaxed();
  });
  // A kill between an effect and its count leaves this one off: it only paces epochs.
  counts.keys = counts.inserts > gone ? counts.inserts - gone : 0;
  return counts;
}

/// An epoch is over when 1/64 of the keys, or 1/32 of the memory, is new: large values count by their bytes.
void Evictor::advance_epoch(const View& view, const Counts& counts) noexcept {
  const auto restart = [&] {
    inserts_ = counts.inserts;
    insert_bytes_ = counts.insert_bytes;
  };
  if (!counting_) {
    counting_ = true;
    return restart();
  }
  const std::uint64_t length = std::max<std::uint64_t>(1, counts.keys / kEpochsPerTurnover);
  const std::uint64_t bytes = std::max<std::uint64_t>(1, std::uint64_t{view.shape.page_count} * view.shape.page_bytes / kEpochsPerTurnoverBytes);
  if (counts.inserts < inserts_ || counts.insert_bytes < insert_bytes_) return restart();  // somebody's counts are on their way
  const std::uint64_t by_keys = (counts.inserts - inserts_) / length;
  const std::uint64_t by_bytes = (counts.insert_bytes - insert_bytes_) / bytes;
  const std::uint64_t epochs = std::min(std::max(by_keys, by_bytes), kEpochsKeptPerStep);
  if (epochs == 0) return;
  gaps_.note_epoch(view, counts.insert_bytes - insert_bytes_);
  const std::uint64_t inserts = inserts_ + epochs * length;
  const std::uint64_t inserted = insert_bytes_ + epochs * bytes;
  restart();
  // What was begun of the next one counts.
  if (epochs == by_keys) inserts_ = inserts;
  if (epochs == by_bytes) insert_bytes_ = inserted;
  SegmentHeader& header = *view.header;
  header.evict_epoch.store_relaxed(header.evict_epoch.load_relaxed() + epochs);
  const std::uint64_t looks = epochs * (1 + counts.keys / kEpochsPerTurnover);
  calibration_.advance(epochs, looks);
  for (unsigned c = 0; c <= view.shape.classes; ++c) header.class_weights[c].store_relaxed(static_cast<std::uint32_t>(calibration_.weight(c)));
  // A turnover looks at everything once, whether anything has to go or not, as long as the steps keep up.
  looks_owed_ = std::min<std::uint64_t>(looks_owed_ + 1 + looks / kWindowSlots, kLooksOwedMax);
}

std::uint64_t Evictor::high_mark(const Class& c) const noexcept {
  const auto taken = static_cast<std::uint64_t>(c.taken_per_step * kStepsInReserve);
  return std::max<std::uint64_t>({1, c.blocks / kReserveShare, std::min(taken, c.blocks / kReserveShareMax)});
}
std::uint64_t Evictor::low_mark(const Class& c) const noexcept { return high_mark(c) / 2; }

void Evictor::note_taken(unsigned size_class, std::uint64_t blocks_before, std::uint64_t there_before) noexcept {
  Class& now = classes_[size_class];
  if (now.free >= now.enough || now.blocks < blocks_before) return;  // a page that went took its free blocks along
  const std::uint64_t had = there_before + now.missed + now.blocks - blocks_before;
  const std::uint64_t has = now.free + now.waiting;
  const double taken = had > has ? static_cast<double>(had - has) / static_cast<double>(std::max<std::uint64_t>(1, steps_)) : 0;
  now.taken_per_step += kTakenWeight * (taken - now.taken_per_step);
}

void Evictor::survey(Context& context) noexcept {
  const View& view = *context.view;
  const unsigned runs = view.shape.classes;
  std::array<Class, layout::kClassesMax + 1>& now = classes_;
  struct Before {
    std::uint64_t blocks, free, waiting;
  };
  std::array<Before, layout::kClassesMax + 1> before{};
  for (unsigned c = 0; c <= runs; ++c) {
    before[c] = {now[c].blocks, now[c].free, now[c].waiting};
    now[c].pages = now[c].blocks = now[c].free = now[c].waiting = 0;
    now[c].missed = exchange_missed(view, c);
  }
  free_pages_ = 0;
  gaps_.begin_count();
  const auto class_of_page = [&](std::uint64_t word) -> unsigned {
    if (PageWord::kind(word) == PageWord::kSlab && PageWord::Class::get(word) < runs) return static_cast<unsigned>(PageWord::Class::get(word));
    return runs;
  };
  for (std::uint64_t p = 0; p < view.shape.page_count; ++p) {
    const std::uint64_t word = view.pages[p].load_relaxed();
    gaps_.count(PageWord::is_kept(word));
    if (PageWord::is_kept(word)) continue;
    if (PageWord::kind(word) == PageWord::kFree) {
      ++free_pages_;
      continue;
    }
    ++now[class_of_page(word)].pages;
    if (PageWord::kind(word) == PageWord::kRunHead) ++now[runs].blocks;
  }
  blocks_used_ = classes_used_ = 0;
  for (unsigned c = 0; c <= runs; ++c) {
    if (c < runs) now[c].blocks = now[c].pages * blocks_per_page(view, c);
    now[c].enough = 2 * high_mark(now[c]) + blocks_per_page(view, c);
    blocks_used_ += now[c].blocks;
    if (now[c].pages > 0) ++classes_used_;
  }
  classes_used_ = std::max<std::uint64_t>(1, classes_used_);
  for (const RetiredBlock& block : context.retired) ++now[class_of_page(view.pages[view.page_of(block.unit)].load_relaxed())].waiting;
  // While there are many free pages nobody is short, and nobody's free blocks are counted.
  if (has_plenty(view)) return set_headroom(view);
  for (std::uint64_t p = 0; p < view.shape.page_count; ++p) {
    const unsigned size_class = class_of_page(view.pages[p].load_relaxed());
    if (size_class == runs) continue;
    Class& c = now[size_class];
    if (c.free < c.enough) c.free += count_free(view, p, size_class, c.enough - c.free);
    c.waiting += count_bits(view, view.hint_bits, p);
  }
  for (unsigned c = 0; c < runs; ++c) note_taken(c, before[c].blocks, before[c].free + before[c].waiting);
  set_headroom(view);
}

void Evictor::set_headroom(const View& view) noexcept {
  std::uint64_t least = ~std::uint64_t{0};
  if (has_plenty(view)) {
    least = 0;
  } else {
    for (unsigned size_class = 0; size_class < view.shape.classes; ++size_class) {
      const Class& c = classes_[size_class];
      const std::uint64_t low = low_mark(c);
      if (c.blocks > 0) least = std::min(least, c.free > low ? c.free - low : 0);
    }
  }
  headroom_ = least + free_pages_ < least ? least : least + free_pages_;
}

std::uint64_t Evictor::deficit(const View& view, unsigned size_class) const noexcept {
  const Class& c = classes_[size_class];
  // Whoever comes first takes a free page: each class counts on its share of them.
  const std::uint64_t there = c.free + c.waiting + free_pages_ / classes_used_ * blocks_per_page(view, size_class);
  if (c.blocks == 0 || has_plenty(view) || there > low_mark(c)) return 0;
  return high_mark(c) - there;
}

}  // namespace cachee::shm
