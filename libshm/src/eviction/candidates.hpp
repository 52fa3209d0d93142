// What the hand meets: slots of the index in the order of their places (hash order, so a random sample),
// their scores, and the lowest of these by size class.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "eviction/score.hpp"
#include "index/index.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

inline constexpr std::uint64_t kWindowSlots = 64;
inline constexpr std::uint64_t kGroupsPerWindow = 256;  // of a sparse index

inline EvictionPolicy policy_of(const View& view) noexcept {
  return static_cast<EvictionPolicy>(view.header->evict_policy.load_relaxed() & 3);
}

/// The word with its frequency and age halved.
[[nodiscard]] std::uint32_t halved(std::uint32_t heat, std::uint64_t epoch) noexcept;
/// The same, when the one is saturated or the other would come round.
[[nodiscard]] inline std::uint32_t aged(std::uint32_t heat, std::uint64_t epoch) noexcept {
  using layout::HeatWord;
  constexpr std::uint32_t kAgeShare = HeatWord::kEpochMask / 2;  // older: halved before it comes round
  const bool young = HeatWord::frequency(heat) < HeatWord::kFrequencyMax && HeatWord::age(heat, epoch) <= kAgeShare;
  return young ? heat : halved(heat, epoch);
}

struct Victim {
  std::uint64_t bucket = 0;
  Word* slot = nullptr;
  std::uint64_t word = 0;
  Heat* heat = nullptr;
  std::uint64_t bytes = 0;
  std::int32_t score = 0;
  unsigned size_class = 0;  // classes: a run
};

inline constexpr std::int32_t kClassWeightMin = -30 * kScoreOctave;

/// What calibration.hpp says of a class.
inline std::int32_t weight_of(const View& view, EvictionPolicy policy, unsigned size_class) noexcept {
  if (policy == EvictionPolicy::lru) return 0;
  return std::clamp(static_cast<std::int32_t>(view.header->class_weights[size_class].load_relaxed()), kClassWeightMin, 0);
}
inline std::int32_t score_in_class(const View& view, EvictionPolicy policy, std::uint32_t heat, std::uint64_t bytes, unsigned size_class) noexcept {
  return score_of(heat, view.header->evict_epoch.load_relaxed(), bytes, policy) + weight_of(view, policy, size_class);
}

/// False when it was used since it was scored, or is not there any more.
inline bool still_scores(const View& view, EvictionPolicy policy, const Victim& victim) noexcept {
  return victim.slot->load_relaxed() == victim.word &&
         score_in_class(view, policy, victim.heat->load_relaxed(), victim.bytes, victim.size_class) <= victim.score;
}

/// The lowest scores of one class among those that it was offered. They may stay for a while: what is used
/// meanwhile does not go (still_scores).
class Candidates {
 public:
  static constexpr unsigned kPerVictim = 16;  // as good as 32: expiry-eviction.md

  void offer(const Victim& victim) noexcept {
    seen_ = std::min(seen_ + 1, kKept * kPerVictim);
    if (kept_ == kKept && victim.score >= lowest_[0].score) return;
    for (unsigned i = 0; i < kept_; ++i) {
      if (lowest_[i].slot == victim.slot) return drop_and_insert(i, victim);  // the hand came round
    }
    if (kept_ == kKept) return drop_and_insert(0, victim);
    ++kept_;
    insert_below(kept_ - 1, victim);
  }
  /// Enough were seen to choose among.
  [[nodiscard]] bool enough() const noexcept { return kept_ > 0 && seen_ >= kPerVictim; }
  [[nodiscard]] bool any() const noexcept { return kept_ > 0; }
  /// Takes the lowest off the list; any() was true.
  Victim take() noexcept { return lowest_[--kept_]; }
  /// One of them went.
  void spend() noexcept { seen_ -= std::min(seen_, kPerVictim); }

 private:
  static constexpr unsigned kKept = 64;  // a class takes its victims by the dozen

  void drop_and_insert(unsigned at, const Victim& victim) noexcept {
    for (unsigned i = at; i + 1 < kept_; ++i) lowest_[i] = lowest_[i + 1];
    insert_below(kept_ - 1, victim);
  }
  /// `at` is free and the last place.
  void insert_below(unsigned at, const Victim& victim) noexcept {
    for (; at > 0 && lowest_[at - 1].score < victim.score; --at) lowest_[at] = lowest_[at - 1];
    lowest_[at] = victim;
  }

  std::array<Victim, kKept> lowest_{};  // the lowest is the last
  unsigned kept_ = 0;
  unsigned seen_ = 0;
};

/// The class of a block and its bytes, by the page table alone. False: no block is there.
[[gnu::always_inline]] inline bool block_of(const View& view, std::uint64_t unit, unsigned& size_class,
                                            std::uint64_t& bytes) noexcept {
  using layout::PageWord;
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

/// Calls offer(victim) for every record of the next window. Empty slots do not count, within reason: the
/// index may be sparse.
template <class Offer>
void look(const View& view, EvictionPolicy policy, Offer&& offer) noexcept {
  using layout::Slot;
  const std::uint64_t groups = std::uint64_t{view.shape.bucket_count} + view.shape.overflow_count;
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  unsigned seen = 0;
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
      offer(Victim{bucket, &slots[i], word, &heat, bytes, score_in_class(view, policy, now, bytes, of), of});
    }
  }
}

}  // namespace cachee::shm
