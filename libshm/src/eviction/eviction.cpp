#include "eviction/eviction.hpp"

#include <algorithm>

#include "eviction/score.hpp"
#include "expiry/expiry.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::PageWord;
using layout::Slot;

namespace {

constexpr std::uint64_t kWindowsPerCall = 64;
constexpr std::uint64_t kPagesPerCall = 64;
constexpr std::uint64_t kPendingEvictionsMax = 256;
constexpr std::uint64_t kEvictionsPerCall = 4;
constexpr unsigned kClassCandidates = 16;  // as good as 32: expiry-eviction.md
constexpr unsigned kWindowsPerChoice = 24;
constexpr std::uint64_t kGroupsPerWindow = 256;  // of a sparse index

EvictionPolicy policy_of(const View& view) noexcept {
  return static_cast<EvictionPolicy>(view.header->evict_policy.load_relaxed() & 3);
}

/// The class of a block and its bytes, by the page table alone. False: no block is there.
[[gnu::always_inline]] inline bool block_of(const View& view, std::uint64_t unit, unsigned& size_class,
                                            std::uint64_t& bytes) noexcept {
  if (view.record(unit) == nullptr) return false;
  const std::uint64_t page = view.pages[view.page_of(unit)].load_relaxed();
  if (PageWord::kind(page) == PageWord::kSlab && PageWord::Class::get(page) < view.shape.classes) {
    size_class = static_cast<unsigned>(PageWord::Class::get(page));
    bytes = layout::kClassBytes[size_class];
    return true;
  }
  if (PageWord::kind(page) != PageWord::kRunHead) return false;
  size_class = view.shape.classes;
  bytes = std::max<std::uint64_t>(1, PageWord::Length::get(page)) * view.shape.page_bytes;
  return true;
}

std::uint64_t reclaim_everywhere(Context& context) noexcept {
  std::uint64_t freed = reclaim_retired(context);
  for (std::uint64_t page = 0; page < context.view->shape.page_count; ++page) freed += reclaim_page(context, page, false);
  return freed;
}

}  // namespace

void look(const View& view, EvictionPolicy policy, unsigned size_class, Window& window) noexcept {
  const std::uint64_t groups = std::uint64_t{view.shape.bucket_count} + view.shape.overflow_count;
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  unsigned seen = 0;
  // Empty slots do not count, within reason: the index may be sparse.
  for (std::uint64_t g = 0; g < kGroupsPerWindow && seen < kWindowSlots; ++g) {
    const std::uint64_t group = view.header->evict_hand.fetch_add(1) % groups;
    const std::uint64_t bucket = chain_of_group(view, group);
    if (bucket == view.shape.bucket_count) continue;
    const bool head = group < view.shape.bucket_count;
    Word* slots = head ? view.buckets[group].slots : view.overflow[group - view.shape.bucket_count].slots;
    const unsigned count = head ? layout::kHeadSlots : layout::kOverflowSlots;
    for (unsigned i = 0; i < count; ++i) {
      const std::uint64_t word = slots[i].load_acquire();
      unsigned of = 0;
      std::uint64_t bytes = 0;
      if (!Slot::occupied(word) || Slot::mark(word) != layout::Mark::live || !block_of(view, Slot::Offset::get(word), of, bytes)) continue;
      ++seen;
      Heat& heat = view.heat[group * layout::kHeatPerBucket + i];
      const std::uint32_t w = heat.load_relaxed();
      const std::uint32_t now = aged(w, epoch);
      if (now != w) heat.store_relaxed(now);
      const Victim victim{bucket, &slots[i], word, score_of(now, epoch, bytes, policy), of};
      if (!window.any || victim.score < window.any->score) window.any = victim;
      if (of != size_class) continue;
      ++window.seen_of_class;
      if (!window.of_class || victim.score < window.of_class->score) window.of_class = victim;
    }
  }
}

Window look_for(const View& view, EvictionPolicy policy, unsigned size_class) noexcept {
  Window window;
  for (unsigned n = 0; n < kWindowsPerChoice && window.seen_of_class < kClassCandidates; ++n) {
    look(view, policy, size_class, window);
  }
  return window;
}

bool evict_in_chain(Context& context, std::uint64_t bucket) noexcept {
  const View& view = *context.view;
  const EvictionPolicy policy = policy_of(view);
  if (policy == EvictionPolicy::none) return false;
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  std::optional<Victim> lowest;
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    const std::uint64_t word = walk.slot().load_acquire();
    unsigned of = 0;
    std::uint64_t bytes = 0;
    if (!Slot::occupied(word) || Slot::mark(word) != layout::Mark::live || !block_of(view, Slot::Offset::get(word), of, bytes)) continue;
    const std::int32_t score = score_of(walk.heat().load_relaxed(), epoch, bytes, policy);
    if (!lowest || score < lowest->score) lowest = Victim{bucket, &walk.slot(), word, score, of};
  }
  if (!lowest) return false;
  bool evicted = evict_slot(context, bucket, *lowest->slot, lowest->word);
  // It may be that one's event that finds no room, or a race that it lost: then any other.
  for (ChainWalk any{view, bucket}; !evicted && any.next();) {
    const std::uint64_t word = any.slot().load_acquire();
    evicted = Slot::occupied(word) && Slot::mark(word) == layout::Mark::live && evict_slot(context, bucket, any.slot(), word);
  }
  if (!evicted) return false;
  reclaim_retired(context);  // the supervisor cannot see what a writer keeps for itself
  return true;
}

namespace {

/// Says in the intent that this client sweeps: whoever recovers it rebuilds the deadline summary.
class SweepIntent {
 public:
  explicit SweepIntent(Context& context) noexcept : act_{context.me->act}, before_{act_.load_relaxed()} {
    act_.store_release(static_cast<std::uint64_t>(layout::Act::evict));
  }
  SweepIntent(const SweepIntent&) = delete;
  SweepIntent& operator=(const SweepIntent&) = delete;
  ~SweepIntent() { act_.store_release(before_); }

 private:
  Word& act_;
  std::uint64_t before_;
};

}  // namespace

Room make_room(Context& context, std::uint64_t record_bytes) noexcept {
  const View& view = *context.view;
  const SweepIntent intent{context};
  if (reclaim_everywhere(context) > 0) return Room::freed;
  const EvictionPolicy policy = policy_of(view);
  const unsigned size_class = layout::class_of(record_bytes);
  const bool slab = size_class < view.shape.classes;
  if (slab) view.header->memory_wanted.store_relaxed(size_class + 1);
  // Expired records first: they are dead already [EV-2].
  std::uint64_t expired = 0;
  const std::uint64_t now_ms = view.ms_since_created(base::now_ns());
  sweep_deadlines(view, context.me->bucket, now_ms, kWindowsPerCall,
                  [&](std::uint64_t bucket) { return tend_bucket(context, bucket, expired); });
  if (expired > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  if (policy == EvictionPolicy::none) return Room::none;
  context.count(layout::kWaitedForRoom);
  if (slab) {
    std::uint64_t evicted = 0;
    for (std::uint64_t n = 0; n < kWindowsPerCall && evicted < kEvictionsPerCall; ++n) {
      const auto victim = look_for(view, policy, size_class).of_class;
      if (!victim) break;
      if (evict_slot(context, victim->bucket, *victim->slot, victim->word)) ++evicted;
    }
    if (evicted > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  }
  // No page of the class, or a run: whole pages, until some are free.
  const std::uint64_t evicted_before = context.me->stats[layout::kEvicted].load_relaxed();
  const auto evicted = [&] { return context.me->stats[layout::kEvicted].load_relaxed() - evicted_before; };
  const std::uint64_t pages = slab ? 1 : base::align_up(record_bytes, view.shape.page_bytes) / view.shape.page_bytes;
  if (!slab && make_hole(context, policy, pages)) return Room::freed;
  if (!slab && evicted() > 0) return Room::pending;
  const std::uint64_t tries = std::min<std::uint64_t>(view.shape.page_count, pages + kPagesPerCall);
  bool freed = false;
  for (std::uint64_t n = 0; n < tries; ++n) {
    freed = empty_page(context, view.header->page_hand.fetch_add(1) % view.shape.page_count) || freed;
    if (freed && (slab || n >= pages)) return Room::freed;
    // More eviction does not help while the values that went are held by their events.
    if (evicted() >= kPendingEvictionsMax) return Room::pending;
  }
  if (freed) return Room::freed;
  // Everything may have gone already, and wait for its events to be handled.
  const bool events_wait = view.header->ring_head.load_acquire() != view.header->ring_tail.load_acquire();
  return events_wait || evicted() > 0 ? Room::pending : Room::none;
}

}  // namespace cachee::shm
