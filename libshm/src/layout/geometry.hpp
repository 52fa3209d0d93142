// From options to the shape of a segment and the place of every region. Pure arithmetic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "layout/index_layout.hpp"
#include "layout/segment_header.hpp"

namespace cachee::layout {

struct ShapeRequest {
  std::uint64_t segment_bytes;
  std::uint64_t value_bytes_max;
  std::uint32_t ring_events;
  std::uint32_t clients_max;
  std::uint32_t bucket_count;  // 0: from segment_bytes
  std::uint32_t page_bytes;    // 0: from segment_bytes
};

/// nullopt when the fixed parts leave no room for data.
[[nodiscard]] std::optional<Shape> compute_shape(const ShapeRequest& request) noexcept;

/// A value must leave room for others: at most a quarter of the data, and what a length can say.
[[nodiscard]] std::uint64_t value_bytes_limit(const Shape& shape) noexcept;

/// Region table of a shape; the last region ends within segment_bytes.
[[nodiscard]] std::array<RegionEntry, kRegionCount> compute_regions(const Shape& shape) noexcept;

/// Sets of the ghost: at least one.
[[nodiscard]] constexpr std::uint64_t ghost_sets(std::uint64_t bucket_count) noexcept {
  return (bucket_count + kBucketsPerGhostSet - 1) / kBucketsPerGhostSet;
}

/// Levels of the deadline summary above the buckets: entries of level n (0: per 64 buckets).
inline constexpr unsigned kMinimaLevelsMax = 6;
struct MinimaLevels {
  unsigned count;
  std::uint64_t entries[kMinimaLevelsMax];
  std::uint64_t start[kMinimaLevelsMax];  // in words from the region's start
};
[[nodiscard]] MinimaLevels compute_minima(std::uint64_t bucket_count) noexcept;

}  // namespace cachee::layout
