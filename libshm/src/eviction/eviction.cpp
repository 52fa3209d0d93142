#include "eviction/eviction.hpp"

#include <algorithm>
#include <optional>

#include "eviction/candidates.hpp"
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
constexpr unsigned kWindowsPerChoice = 8;  // of a writer, who waits meanwhile

std::uint64_t reclaim_everywhere(Context& context) noexcept {
  std::uint64_t freed = reclaim_retired(context);
  for (std::uint64_t page = 0; page < context.view->shape.page_count; ++page) freed += reclaim_page(context, page, false);
  return freed;
}

}  // namespace

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
    if (!lowest || score < lowest->score) lowest = Victim{bucket, &walk.slot(), word, &walk.heat(), bytes, score, of};
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
  // Expired records first: they are dead already [EV-2].
  std::uint64_t expired = 0;
  const std::uint64_t now_ms = view.ms_since_created(base::now_ns());
  sweep_deadlines(view, context.me->bucket, now_ms, kWindowsPerCall,
                  [&](std::uint64_t bucket) { return tend_bucket(context, bucket, expired); });
  if (expired > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  if (policy == EvictionPolicy::none) return Room::none;
  context.count(layout::kWaitedForRoom);
  const auto note_missed = [&](std::uint64_t blocks) {
    view.header->class_missed[slab ? size_class : view.shape.classes].fetch_add(static_cast<std::uint32_t>(blocks));
    view.header->memory_wanted.store_relaxed(1);
  };
  if (slab) {
    std::uint64_t evicted = 0;
    Candidates candidates;
    for (unsigned n = 0; n < kWindowsPerCall && evicted < kEvictionsPerCall; ++n) {
      look(view, policy, [&](const Victim& victim) {
        if (victim.size_class == size_class) candidates.offer(victim);
      });
      const bool last = n + 1 >= kWindowsPerChoice;
      while (evicted < kEvictionsPerCall && (candidates.enough() || (last && candidates.any()))) {
        const Victim victim = candidates.take();
        if (!evict_slot(context, victim.bucket, *victim.slot, victim.word)) continue;
        candidates.spend();
        ++evicted;
      }
      if (last && evicted == 0) break;
    }
    note_missed(std::max<std::uint64_t>(1, evicted));
    if (evicted > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  } else {
    note_missed(1);
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
