#include "eviction/eviction.hpp"

#include <algorithm>
#include <cmath>

#include "expiry/expiry.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::HeatWord;
using layout::PageWord;
using layout::Slot;

namespace {

constexpr double kFrequencyOffset = 0.25;
constexpr double kReturnedBonus = 2.0;
constexpr double kCostExponent = 0.5;
constexpr double kCostLogMax = 20.0;  // one absurd cost must not pin an item for ever
constexpr double kEpochMs = 1000.0;   // age is in ms, recency in epochs: both relative within a window
constexpr std::uint64_t kWindowsPerCall = 64;
constexpr std::uint64_t kPagesPerCall = 64;
constexpr std::uint64_t kPendingEvictionsMax = 256;

struct Candidate {
  double score;
  Victim victim;
};

double score_of(const View& view, const Record& record, std::uint64_t unit, std::uint16_t heat, EvictionPolicy policy,
                std::uint64_t now_ms) noexcept {
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  const auto recency = static_cast<double>((epoch - HeatWord::epoch(heat)) & HeatWord::kEpochMask) + 1;
  if (policy == EvictionPolicy::lru) return -recency;
  const std::uint64_t birth = birth_us_of(record) / 1000;
  const double age = static_cast<double>(now_ms > birth ? now_ms - birth : 0) / kEpochMs + 1;
  const RecordBounds b = bounds_of(view, unit, record.lens.load_relaxed());
  const auto bytes = static_cast<double>(sizeof(Record) + b.extension_at);
  double score = std::log2(HeatWord::frequency(heat) + kFrequencyOffset) +
                 (HeatWord::returned(heat) ? kReturnedBonus : 0) - (std::log2(age) + std::log2(recency)) / 2 -
                 std::log2(bytes);
  if (policy == EvictionPolicy::cost) {
    const double cost = extension_cost(extension_in_place(view, unit));
    score += kCostExponent * std::clamp(std::log2(std::max(cost, 1e-9)), -kCostLogMax, kCostLogMax);
  }
  return score;
}

/// Looks at one slot without protection; what it reads may be of another record, which only makes
/// the score wrong. evict_slot() validates before it acts.
void consider(const View& view, std::uint64_t bucket, Word& slot, std::uint16_t heat, EvictionPolicy policy,
              std::optional<unsigned> size_class, std::uint64_t now_ms, std::optional<Candidate>& best) noexcept {
  const std::uint64_t word = slot.load_acquire();
  if (!Slot::occupied(word) || Slot::mark(word) != layout::Mark::live) return;
  const std::uint64_t unit = Slot::Offset::get(word);
  const Record* record = view.record(unit);
  if (record == nullptr) return;
  if (size_class) {
    const std::uint64_t page = view.pages[view.page_of(unit)].load_relaxed();
    if (PageWord::kind(page) != PageWord::kSlab || PageWord::Class::get(page) != *size_class) return;
  }
  const double score = score_of(view, *record, unit, heat, policy, now_ms);
  if (!best || score < best->score) best = Candidate{score, {bucket, &slot, word}};
}

EvictionPolicy policy_of(const View& view) noexcept {
  return static_cast<EvictionPolicy>(view.header->evict_policy.load_relaxed() & 3);
}

std::uint64_t reclaim_everywhere(Context& context) noexcept {
  std::uint64_t freed = reclaim_retired(context);
  for (std::uint64_t page = 0; page < context.view->shape.page_count; ++page) freed += reclaim_page(context, page, false);
  return freed;
}

}  // namespace

std::optional<Victim> choose_victim(Context& context, EvictionPolicy policy, std::optional<unsigned> size_class) noexcept {
  const View& view = *context.view;
  const std::uint64_t groups = std::uint64_t{view.shape.bucket_count} + view.shape.overflow_count;
  const std::uint64_t window_groups = kWindowSlots / layout::kHeadSlots + 1;
  const std::uint64_t start = view.header->evict_hand.fetch_add(window_groups);
  const std::uint64_t now_ms = view.ms_since_created(base::now_coarse_ns());
  std::optional<Candidate> best;
  for (std::uint64_t g = 0; g < window_groups; ++g) {
    const std::uint64_t group = (start + g) % groups;
    const std::uint64_t bucket = chain_of_group(view, group);
    if (bucket == view.shape.bucket_count) continue;
    const bool head = group < view.shape.bucket_count;
    Word* slots = head ? view.buckets[group].slots : view.overflow[group - view.shape.bucket_count].slots;
    const unsigned count = head ? layout::kHeadSlots : layout::kOverflowSlots;
    for (unsigned i = 0; i < count; ++i) {
      consider(view, bucket, slots[i], view.heat[group * layout::kHeatPerBucket + i].load_relaxed(), policy, size_class,
               now_ms, best);
    }
  }
  if (!best) return std::nullopt;
  return best->victim;
}

bool empty_page(Context& context, std::uint64_t page) noexcept {
  const View& view = *context.view;
  bool all = true;
  for_each_block(view, page, [&](std::uint64_t unit, Record& record) {
    const auto state = layout::Hdr::state(record.hdr.load_acquire());
    if (state == layout::RecordState::free || state == layout::RecordState::retired ||
        state == layout::RecordState::aborted) {
      return;
    }
    // The key says where the slot is; a torn key finds nothing and the page stays.
    const std::uint64_t hash = view.hash(key_in_place(view, unit));
    const std::uint64_t bucket = view.bucket_of(hash);
    bool evicted = false;
    ChainWalk walk{view, bucket};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if (!Slot::occupied(word) || Slot::Offset::get(word) != unit) continue;
      evicted = evict_slot(context, bucket, walk.slot(), word);
      break;
    }
    all = all && evicted;
  });
  reclaim_retired(context);
  reclaim_page(context, page, true);
  const std::uint64_t word = view.pages[page].load_acquire();
  if (PageWord::kind(word) == PageWord::kFree) return true;  // it was a run
  return all && drain_page(context, page);
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
  view.header->memory_wanted.store_relaxed(slab ? size_class + 1 : view.shape.classes + 1);
  // Expired records first: they are dead already [EV-2].
  std::uint64_t expired = 0;
  const std::uint64_t now_ms = view.ms_since_created(base::now_ns());
  sweep_deadlines(view, context.me->bucket, now_ms, kWindowsPerCall,
                  [&](std::uint64_t bucket) { return tend_bucket(context, bucket, expired); });
  if (expired > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  if (policy == EvictionPolicy::none) return Room::none;
  if (slab) {
    std::uint64_t evicted = 0;
    for (std::uint64_t n = 0; n < kWindowsPerCall && evicted < 4; ++n) {
      const auto victim = choose_victim(context, policy, size_class);
      if (victim && evict_slot(context, victim->bucket, *victim->slot, victim->word)) ++evicted;
    }
    if (evicted > 0) return reclaim_retired(context) > 0 ? Room::freed : Room::pending;
  }
  // No page of the class, or a run: empty pages in the order of the hand until some are free.
  bool freed = false;
  const std::uint64_t evicted_before = context.me->stats[layout::kEvicted].load_relaxed();
  const std::uint64_t pages = slab ? 1 : record_bytes / view.shape.page_bytes + 1;
  const std::uint64_t tries = std::min<std::uint64_t>(view.shape.page_count, pages + kPagesPerCall);
  for (std::uint64_t n = 0; n < tries; ++n) {
    const std::uint64_t page = view.header->page_hand.fetch_add(1) % view.shape.page_count;
    freed = empty_page(context, page) || freed;
    if (freed && (slab || n >= pages)) return Room::freed;
    // More eviction does not help while the values that went are held by their events.
    if (!freed && context.me->stats[layout::kEvicted].load_relaxed() - evicted_before >= kPendingEvictionsMax) return Room::pending;
  }
  if (freed) return Room::freed;
  // Everything may have gone already, and wait for its events to be handled.
  const bool events_wait = view.header->ring_head.load_acquire() != view.header->ring_tail.load_acquire();
  return events_wait || context.me->stats[layout::kEvicted].load_relaxed() != evicted_before ? Room::pending : Room::none;
}

}  // namespace cachee::shm
