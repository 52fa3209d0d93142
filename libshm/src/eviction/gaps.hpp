// Gaps of free pages that the supervisor keeps for runs, so that who writes a large value does not have to make
// room for it. A slab takes no page of them (PageWord::kept).
#pragma once

#include <cstdint>

#include "eviction/eviction.hpp"

namespace cachee::shm {

class Gaps {
 public:
  /// Learns how long the runs are, and how many pages they take in a step, from what was taken in so many steps.
  void note_runs(const View& view, std::uint64_t steps) noexcept;
  /// An epoch is over, in which so many bytes were written.
  void note_epoch(const View& view, std::uint64_t bytes) noexcept;

  /// Counts what is kept: every page of the table, in order.
  void begin_count() noexcept { kept_ = gaps_ = length_ = 0; }
  void count(bool kept) noexcept {
    if (!kept) {
      length_ = 0;
      return;
    }
    ++kept_;
    if (++length_ < run_pages_) return;
    ++gaps_;
    length_ = 0;
  }

  /// Makes those that are missing. Returns how many records went.
  std::uint64_t make(Context& context, EvictionPolicy policy, std::uint64_t count_max) noexcept;
  /// Keeps nothing any more.
  void give_back(const View& view) noexcept;

 private:
  std::uint64_t wanted(const View& view) const noexcept;

  std::uint64_t kept_ = 0;       // pages
  std::uint64_t gaps_ = 0;       // of run_pages_ each
  std::uint64_t length_ = 0;     // of the one that is counted
  double longest_ = 0;           // run lately, in pages
  std::uint64_t run_pages_ = 0;  // the same, rounded
  double taken_per_step_ = 0;    // pages
  std::uint64_t taken_ = 0;      // pages in this epoch
  std::uint64_t pause_ = 0, pause_left_ = 0;  // steps
  double share_ = 0;             // of runs in the bytes that are written
};

}  // namespace cachee::shm
