#include "eviction/evictor.hpp"

#include <algorithm>
#include <utility>

#include "keyspace/keyspace.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::PageWord;
using layout::RecordState;

namespace {

constexpr std::uint64_t kWindowsPerVictim = 2;     // looked at before a class's pages are
constexpr std::uint64_t kFailuresMax = 32;         // in a row
constexpr std::uint64_t kLooksPerStep = 64;
constexpr std::int64_t kPagesBehind = 8;           // owed: the load has changed
constexpr std::uint64_t kPagesOwedMax = 64;        // nobody's past counts for more
constexpr unsigned kEvictionsPerNote = 4;         // or half a page
constexpr unsigned kWindowsPerNote = 2;
constexpr std::uint64_t kMissedNotesMax = 16;      // in the ledger, at one step

}  // namespace

/// Windows would have to be many until enough of the class are met.
bool Evictor::is_rare(unsigned size_class) const noexcept {
  const Class& c = classes_[size_class];
  return c.blocks * kWindowsPerVictim * kWindowSlots < blocks_used_ * Candidates::kPerVictim;
}

void Evictor::look_in_pages(const View& view, EvictionPolicy policy, unsigned size_class) noexcept {
  Class& c = classes_[size_class];
  unsigned seen = 0;
  for (std::uint64_t n = 0; n < view.shape.page_count && seen < Candidates::kPerVictim; ++n) {
    const std::uint64_t page = c.page_cursor++ % view.shape.page_count;
    const std::uint64_t word = view.pages[page].load_relaxed();
    const bool run = PageWord::kind(word) == PageWord::kRunHead;
    if (!run && (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) != size_class)) continue;
    if (run != (size_class == view.shape.classes)) continue;
    const std::uint64_t bytes = run ? std::max<std::uint64_t>(1, PageWord::Length::get(word)) * view.shape.page_bytes : layout::kClassBytes[size_class];
    const std::uint64_t blocks = blocks_per_page(view, size_class);
    for (std::uint64_t i = 0; i < blocks && seen < Candidates::kPerVictim; ++i) {
      const std::uint64_t unit = view.page_unit(page) + c.block_cursor++ % blocks * (bytes / layout::kOffsetUnit);
      if (Hdr::state(view.record_at(unit).hdr.load_acquire()) == RecordState::free) continue;
      const Linked found = find_by_key(view, unit);
      if (found.slot == nullptr) continue;
      ++seen;
      c.candidates.offer({found.bucket, found.slot, found.word, found.heat, bytes, score_in_class(view, policy, found.heat->load_relaxed(), bytes, size_class), size_class});
    }
  }
}

void Evictor::look_on(const View& view, EvictionPolicy policy, std::optional<Victim>* lowest) noexcept {
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  look(view, policy, [&](const Victim& victim) {
    classes_[victim.size_class].candidates.offer(victim);
    calibration_.note(victim.size_class, victim.heat->load_relaxed(), epoch);
    if (lowest != nullptr && (!*lowest || victim.score < (*lowest)->score)) *lowest = victim;
  });
}

unsigned Evictor::class_of_lowest(const View& view, EvictionPolicy policy) noexcept {
  std::optional<Victim> lowest;
  for (unsigned n = 0; n < kWindowsPerNote; ++n) look_on(view, policy, &lowest);
  return lowest ? lowest->size_class : view.shape.classes;
}

bool Evictor::evict_candidate(Context& context, EvictionPolicy policy, unsigned size_class, bool note) noexcept {
  const View& view = *context.view;
  Class& c = classes_[size_class];
  while (c.candidates.any()) {
    const Victim victim = c.candidates.take();
    if (!still_scores(view, policy, victim)) continue;
    if (!evict_slot(context, victim.bucket, *victim.slot, victim.word)) return false;
    c.candidates.spend();
    if (size_class < view.shape.classes) ++c.free;
    if (note) {
      c.unnoted_bytes += victim.bytes;
      if (++c.unnoted >= kEvictionsPerNote || 2 * c.unnoted_bytes >= view.shape.page_bytes) {
        owe(view, class_of_lowest(view, policy), size_class, std::exchange(c.unnoted_bytes, 0));
        c.unnoted = 0;
      }
    }
    if (context.retired.size() >= kRetiredBatch) reclaim_retired(context);
    return true;
  }
  return false;
}

std::uint64_t Evictor::evict_of_class(Context& context, EvictionPolicy policy, unsigned size_class, const Wanted& wanted) noexcept {
  const View& view = *context.view;
  const Candidates& candidates = classes_[size_class].candidates;
  const std::uint64_t most = std::min(wanted.blocks, wanted.most);
  std::uint64_t evicted = 0;
  // Where one after the other fails, the ring has no room for their events: more does not help.
  for (std::uint64_t failed = 0; failed < kFailuresMax && evicted < most;) {
    if (!is_rare(size_class)) {
      for (std::uint64_t n = 0; n < kWindowsPerVictim && !candidates.enough(); ++n) look_on(view, policy);
    }
    if (!candidates.enough()) look_in_pages(view, policy, size_class);
    if (!candidates.any()) break;
    if (evict_candidate(context, policy, size_class, wanted.note)) {
      ++evicted;
      failed = 0;
    } else {
      ++failed;
    }
  }
  reclaim_retired(context);
  return evicted;
}

unsigned Evictor::giver_to(unsigned taker) const noexcept {
  unsigned giver = taker;
  for (unsigned c = 0; c < classes_.size(); ++c) {
    if (c == taker || classes_[c].pages == 0) continue;
    if (giver == taker || classes_[c].owed_bytes > classes_[giver].owed_bytes ||
        (classes_[c].owed_bytes == classes_[giver].owed_bytes && classes_[c].pages > classes_[giver].pages)) {
      giver = c;
    }
  }
  return giver;
}

std::uint64_t Evictor::move_page(Context& context, EvictionPolicy policy, unsigned taker) noexcept {
  const View& view = *context.view;
  const auto page_bytes = static_cast<std::int64_t>(view.shape.page_bytes);
  const bool needs_one = classes_[taker].blocks == 0;
  const unsigned giver = giver_to(taker);
  if (giver == taker || (!needs_one && classes_[giver].owed_bytes < page_bytes)) return 0;
  Class& from = classes_[giver];
  const std::uint64_t blocks = blocks_per_page(view, giver);
  const std::uint64_t wanted = giver == view.shape.classes ? 1 : blocks + low_mark(from);
  const std::uint64_t more = wanted > from.free ? wanted - from.free : 0;
  const std::uint64_t evicted = evict_of_class(context, policy, giver, {more, more, false});
  if (evicted < more) return evicted;
  from.owed_bytes -= page_bytes;
  classes_[taker].owed_bytes += page_bytes;
  if (giver != view.shape.classes) static_cast<void>(vacate_emptiest(context, giver));
  return evicted;
}

bool Evictor::vacate_emptiest(Context& context, unsigned size_class) noexcept {
  const View& view = *context.view;
  Class& from = classes_[size_class];
  std::uint64_t emptiest = view.shape.page_count;
  std::uint64_t most_free = 0;
  for (std::uint64_t n = 0; n < view.shape.page_count; ++n) {
    const std::uint64_t page = (from.page_cursor + n) % view.shape.page_count;
    const std::uint64_t word = view.pages[page].load_relaxed();
    if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) != size_class) continue;
    const std::uint64_t free = count_bits(view, view.free_bits, page);
    if (emptiest != view.shape.page_count && free <= most_free) continue;
    emptiest = page;
    most_free = free;
  }
  if (emptiest == view.shape.page_count) return false;
  from.page_cursor = emptiest + 1;  // another one next time, should this one be in use
  if (!vacate_page(context, emptiest)) return false;
  const std::uint64_t blocks = blocks_per_page(view, size_class);
  ++free_pages_;
  --from.pages;
  from.blocks -= blocks;
  from.free -= std::min(from.free, blocks);
  return true;
}

void Evictor::owe(const View& view, unsigned lowest, unsigned taker, std::uint64_t bytes) noexcept {
  const auto most = static_cast<std::int64_t>(kPagesOwedMax * view.shape.page_bytes);
  Class& from = classes_[lowest];
  Class& to = classes_[taker];
  from.owed_bytes = std::min(from.owed_bytes + static_cast<std::int64_t>(bytes), most);
  to.owed_bytes = std::max(to.owed_bytes - static_cast<std::int64_t>(bytes), -most);
}

void Evictor::note_missed(const View& view, EvictionPolicy policy, unsigned size_class) noexcept {
  Class& c = classes_[size_class];
  const std::uint64_t notes = std::min(c.missed, kMissedNotesMax);
  for (std::uint64_t n = 0; n < notes; ++n) {
    owe(view, class_of_lowest(view, policy), size_class, c.missed * layout::kClassBytes[size_class] / notes);
  }
}

std::uint64_t Evictor::step(Context& context, std::uint64_t count_max) noexcept {
  const View& view = *context.view;
  SegmentHeader& header = *view.header;
  const Counts counts = count(view);
  advance_epoch(view, counts);
  const EvictionPolicy policy = policy_of(view);
  if (policy == EvictionPolicy::none) {
    if (!std::exchange(gaps_given_, true)) gaps_.give_back(view);
    return 0;
  }
  gaps_given_ = false;
  ++steps_;
  for (std::uint64_t n = 0; n < kLooksPerStep && looks_owed_ > 0; ++n, --looks_owed_) look_on(view, policy);
  const bool wanted = header.memory_wanted.load_relaxed() != 0;
  const std::uint64_t run_pages = header.run_pages_taken.load_relaxed();
  if (!wanted && run_pages == 0 && counts.allocations - allocations_ < headroom_) return 0;
  allocations_ = counts.allocations;
  if (wanted) header.memory_wanted.store_relaxed(0);
  gaps_.note_runs(view, steps_);
  reclaim_retired(context);  // what waited for its event counts as there, and somebody has to free it
  survey(context);
  steps_ = 0;
  const unsigned runs = view.shape.classes;
  std::uint64_t evicted = 0;
  std::uint64_t promised = 0;  // free pages, to classes that others owe much
  // One class after the other: the page that one gets may be what the next is short of, and then nothing of
  // that one goes. Others owe it.
  for (unsigned size_class = 0; size_class < runs && evicted < count_max; ++size_class) {
    Class& c = classes_[size_class];
    note_missed(view, policy, size_class);
    const std::uint64_t short_of = deficit(view, size_class);
    const bool needs_page = c.missed > 0 && c.blocks == 0;
    if (short_of == 0 && !needs_page) continue;
    // Who owes much pays first; who owes little, behind what the class gives itself.
    const std::int64_t owed = classes_[giver_to(size_class)].owed_bytes;  // its own is not positive while others' is
    const bool behind = owed >= kPagesBehind * static_cast<std::int64_t>(view.shape.page_bytes);
    const std::uint64_t pages = behind ? std::min(2 * page_mark(view), 1 + short_of / blocks_per_page(view, size_class)) : 0;
    while (free_pages_ < promised + pages && evicted < count_max) {
      const std::uint64_t free_before = free_pages_;
      evicted += move_page(context, policy, size_class);
      if (free_pages_ == free_before) break;
    }
    // The pages that were made for it are its own; else it would never come to take one.
    const std::uint64_t made = free_pages_ > promised ? std::min(pages, free_pages_ - promised) : 0;
    promised += made;
    const std::uint64_t made_blocks = made * blocks_per_page(view, size_class);
    if (const std::uint64_t left = deficit(view, size_class); left > made_blocks && evicted < count_max) {
      evicted += evict_of_class(context, policy, size_class, {left - made_blocks, count_max - evicted, true});
    }
    if (free_pages_ == 0) evicted += move_page(context, policy, size_class);
  }
  evicted += gaps_.make(context, policy, count_max > evicted ? count_max - evicted : 0);
  // One half-empty page a step is enough: there is time until somebody needs it.
  for (unsigned size_class = 0; size_class < runs && free_pages_ < page_mark(view); ++size_class) {
    const Class& c = classes_[size_class];
    const std::uint64_t blocks = blocks_per_page(view, size_class);
    if (c.blocks > 0 && c.free >= blocks + high_mark(c) && vacate_emptiest(context, size_class)) {
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
