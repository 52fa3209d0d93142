// How much of its memory each size class uses: blocks by state, and what the live records need.
//
// Counting reads the header of every block. Whoever may not wait for all of them counts in small
// steps, and in a class of very many blocks only those of every so many a page; pages are counted all,
// in a pass before, which says how many. What changes meanwhile is counted as it was met: a block may
// be missed, or be there twice.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include <cachee/inspect.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

class SlabCounter {
 public:
  static constexpr std::uint64_t kBlocksSampled = 1 << 19;
  static constexpr std::uint64_t kAllBlocks = std::numeric_limits<std::uint64_t>::max();

  /// The view outlives it. `blocks_sampled`: how many of a class one round looks at, about.
  SlabCounter(const View& view, std::uint64_t blocks_sampled);

  /// Looks at so many blocks more, and the rest of a page. True: with them a round is over.
  bool step(std::uint64_t blocks_max);
  /// Of the last round, by size; runs of pages behind the classes. Those that have no page are left out.
  [[nodiscard]] const std::vector<SlabClassInfo>& classes() const noexcept { return classes_; }
  /// Whether the last round did not look at every block.
  [[nodiscard]] bool sampled() const noexcept { return sampled_; }

 private:
  struct Part {
    SlabClassInfo info{};
    std::uint64_t pages_seen = 0;
    std::uint64_t stride = 1;  // of its pages, one in so many is looked at
  };
  /// The class of a page that is a slab, or null.
  Part* part_of(std::uint64_t word) noexcept;
  /// Returns the blocks that it looked at.
  std::uint64_t look_at(std::uint64_t page);
  /// Between the passes: how much of each class the second one is to look at.
  void choose_strides() noexcept;
  void count_blocks(std::uint64_t page, SlabClassInfo& into) const noexcept;
  void finish();

  const View& view_;
  std::uint64_t blocks_sampled_;
  std::vector<Part> parts_{};
  std::map<std::uint64_t, SlabClassInfo> runs_{};  // by length in pages
  bool sizing_ = true;  // the first pass
  std::uint64_t page_ = 0;
  std::uint64_t round_ = 0;
  std::vector<SlabClassInfo> classes_{};
  bool sampled_ = false;
};

}  // namespace cachee::shm
