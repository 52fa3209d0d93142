// The supervisor's side of eviction. survey.cpp: what there is, and who is short of it; evictor.cpp: what goes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "eviction/calibration.hpp"
#include "eviction/candidates.hpp"
#include "eviction/gaps.hpp"

namespace cachee::shm {

/// Free pages that are made by moving what is in half-empty ones, without evicting anything.
inline std::uint64_t page_mark(const View& view) noexcept { return std::max<std::uint64_t>(1, view.shape.page_count / 128); }
inline std::uint64_t blocks_per_page(const View& view, unsigned size_class) noexcept {
  return size_class < view.shape.classes ? view.shape.page_bytes / layout::kClassBytes[size_class] : 1;
}
/// Of a page in one of its bitmaps.
inline std::uint64_t count_bits(const View& view, const Word* bits, std::uint64_t page) noexcept {
  std::uint64_t count = 0;
  for (std::uint64_t w = 0; w < view.bit_words; ++w) {
    count += static_cast<std::uint64_t>(__builtin_popcountll(bits[page * view.bit_words + w].load_relaxed()));
  }
  return count;
}

/// The supervisor's side: epochs, and a reserve of free blocks in every size class.
///
/// A class that is short evicts of its own; what the hand meets of other classes is kept for their turn
/// (candidates.hpp). Whether that was right a ledger tells: now and then the hand looks which class the lowest score
/// of all is in, and that class owes the bytes. A class that owes more than a page gives one up: enough of its lowest
/// scores are evicted, its emptiest page is vacated, and the class that is short takes it. So bytes go where they are
/// worth most, at the price of one move per block of a page that changes hands.
class Evictor {
 public:
  /// One bounded step; returns how many records went.
  std::uint64_t step(Context& context, std::uint64_t count_max) noexcept;

 private:
  struct Class {
    std::uint64_t pages = 0, blocks = 0, free = 0, waiting = 0;
    std::uint64_t missed = 0;         // that writers made room for since the last survey
    std::uint64_t enough = 0;         // free blocks are looked at up to here
    double taken_per_step = 0;        // of its blocks, lately
    std::int64_t owed_bytes = 0;      // > 0: others should have these
    std::uint64_t unnoted_bytes = 0;  // evicted since the last note in the ledger
    unsigned unnoted = 0;
    std::uint64_t page_cursor = 0, block_cursor = 0;
    Candidates candidates{};
  };
  struct Counts {
    std::uint64_t allocations = 0, inserts = 0, insert_bytes = 0, keys = 0;
  };
  Counts count(const View& view) const noexcept;
  void advance_epoch(const View& view, const Counts& counts) noexcept;
  void survey(Context& context) noexcept;
  /// Learns how fast a class's blocks are taken, from what the last step left and what is there now.
  void note_taken(unsigned size_class, std::uint64_t blocks_before, std::uint64_t there_before) noexcept;
  void owe(const View& view, unsigned lowest, unsigned taker, std::uint64_t bytes) noexcept;
  /// What writers evicted goes into the ledger, too.
  void note_missed(const View& view, EvictionPolicy policy, unsigned size_class) noexcept;
  bool has_plenty(const View& view) const noexcept { return free_pages_ > 2 * page_mark(view); }
  void set_headroom(const View& view) noexcept;
  std::uint64_t high_mark(const Class& c) const noexcept;
  std::uint64_t low_mark(const Class& c) const noexcept;
  std::uint64_t deficit(const View& view, unsigned size_class) const noexcept;
  bool is_rare(unsigned size_class) const noexcept;
  struct Wanted {
    std::uint64_t blocks;  // to be free
    std::uint64_t most;    // to be evicted
    bool note;             // in the ledger
  };
  std::uint64_t evict_of_class(Context& context, EvictionPolicy policy, unsigned size_class, const Wanted& wanted) noexcept;
  bool evict_candidate(Context& context, EvictionPolicy policy, unsigned size_class, bool note) noexcept;
  /// The next window, for the candidates and the calibration; and the lowest score, if it is wanted.
  void look_on(const View& view, EvictionPolicy policy, std::optional<Victim>* lowest = nullptr) noexcept;
  unsigned class_of_lowest(const View& view, EvictionPolicy policy) noexcept;
  void look_in_pages(const View& view, EvictionPolicy policy, unsigned size_class) noexcept;
  bool vacate_emptiest(Context& context, unsigned size_class) noexcept;
  /// Who owes most; `taker` itself when nobody else has a page.
  unsigned giver_to(unsigned taker) const noexcept;
  std::uint64_t move_page(Context& context, EvictionPolicy policy, unsigned taker) noexcept;

  std::array<Class, layout::kClassesMax + 1> classes_{};  // last: runs
  std::uint64_t free_pages_ = 0;   // but for those kept for runs
  Gaps gaps_{};
  bool gaps_given_ = false;        // under policy `none` nothing is kept
  std::uint64_t blocks_used_ = 0;  // of all classes
  std::uint64_t classes_used_ = 1;
  std::uint64_t headroom_ = 0;     // allocations until the next survey
  std::uint64_t allocations_ = 0;  // at the last survey
  std::uint64_t steps_ = 0;        // since the last survey
  std::uint64_t inserts_ = 0;      // at the last epoch
  std::uint64_t insert_bytes_ = 0;
  bool counting_ = false;          // both are known
  Calibration calibration_{};
  std::uint64_t looks_owed_ = 0;
};

}  // namespace cachee::shm
