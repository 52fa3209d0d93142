#include "layout/geometry.hpp"

#include <algorithm>
#include <bit>

#include <cachee/triggers.hpp>

#include "layout/index_layout.hpp"
#include "layout/ring_layout.hpp"
#include "layout/trigger_layout.hpp"

namespace cachee::layout {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kRecordBytesExpected = 200;  // sizes the index; fewer bytes: longer chains
constexpr std::uint64_t kKeysPerBucketExpected = 4;
constexpr std::uint64_t kTriggerTableBytesMax = 16 * kMiB;

std::uint32_t choose_page_bytes(std::uint64_t segment_bytes) noexcept {
  if (segment_bytes < 8 * kMiB) return 4096;
  return segment_bytes < 64 * kMiB ? 16384 : 65536;
}

}  // namespace

MinimaLevels compute_minima(std::uint64_t bucket_count) noexcept {
  MinimaLevels levels{};
  std::uint64_t entries = bucket_count;
  std::uint64_t start = 0;
  do {
    entries = (entries + 63) / 64;
    levels.entries[levels.count] = entries;
    levels.start[levels.count] = start;
    start += entries;
    ++levels.count;
  } while (entries > 1 && levels.count < kMinimaLevelsMax);
  return levels;
}

std::array<RegionEntry, kRegionCount> compute_regions(const Shape& shape) noexcept {
  const std::uint64_t buckets = shape.bucket_count;
  const std::uint64_t overflow = shape.overflow_count;
  const std::uint64_t pages = shape.page_count;
  const std::uint64_t bit_words = shape.page_bytes / kBlockBytesMin / 64;
  const MinimaLevels minima = compute_minima(buckets);
  std::array<std::uint64_t, kRegionCount> bytes{};
  bytes[kRegionClients] = shape.clients_max * sizeof(Client);
  bytes[kRegionBuckets] = buckets * sizeof(Bucket);
  bytes[kRegionOverflow] = overflow * sizeof(OverflowBucket);
  bytes[kRegionOverflowOwners] = overflow * sizeof(Word);
  bytes[kRegionHeat] = (buckets + overflow) * kHeatPerBucket * sizeof(Heat);
  bytes[kRegionGhost] = ghost_sets(shape.bucket_count) * kGhostWays * sizeof(Ghost);
  bytes[kRegionSamples] = shape.clients_max * kSampleWords * sizeof(Word);
  bytes[kRegionMinima] = (minima.start[minima.count - 1] + minima.entries[minima.count - 1]) * sizeof(Word);
  bytes[kRegionLanes] = sizeof(LanePage);
  bytes[kRegionRing] = shape.ring_events * sizeof(Cell);
  bytes[kRegionTableA] = bytes[kRegionTableB] = shape.table_bytes;
  bytes[kRegionCounters] = shape.trigger_slots * sizeof(TriggerCounters);
  bytes[kRegionJournal] = sizeof(Journal);
  bytes[kRegionPages] = pages * sizeof(Word);
  bytes[kRegionFreeBits] = bytes[kRegionHintBits] = pages * bit_words * sizeof(Word);
  bytes[kRegionAvailable] = (shape.classes + 1) * ((pages + 63) / 64) * sizeof(Word);
  bytes[kRegionData] = pages * shape.page_bytes;

  std::array<RegionEntry, kRegionCount> regions{};
  std::uint64_t offset = sizeof(SegmentHeader);
  for (unsigned i = 0; i < kRegionCount; ++i) {
    const bool own_page = i == kRegionLanes || i == kRegionLanes + 1 || i == kRegionData;
    offset = base::align_up(offset, own_page ? 4096 : base::kCacheLineBytes);
    regions[i] = {offset, bytes[i]};
    offset += bytes[i];
  }
  return regions;
}

std::uint64_t value_bytes_limit(const Shape& shape) noexcept {
  return std::min<std::uint64_t>(std::uint64_t{shape.page_count} * shape.page_bytes / 4, Lens::Value::kMax);
}

std::optional<Shape> compute_shape(const ShapeRequest& request) noexcept {
  Shape shape{};
  shape.segment_bytes = request.segment_bytes / 4096 * 4096;
  shape.clients_max = request.clients_max;
  shape.page_bytes = request.page_bytes != 0 ? request.page_bytes : choose_page_bytes(shape.segment_bytes);
  shape.ring_events = std::bit_ceil(request.ring_events);
  shape.classes = count_classes(shape.page_bytes / 2);
  const std::uint64_t buckets =
      request.bucket_count != 0
          ? request.bucket_count
          : std::max<std::uint64_t>(64, shape.segment_bytes / kRecordBytesExpected / kKeysPerBucketExpected);
  shape.bucket_count = static_cast<std::uint32_t>(std::min<std::uint64_t>(buckets, ~std::uint32_t{0}));
  const std::uint64_t overflow = std::max<std::uint64_t>(8, shape.bucket_count / 4);
  shape.overflow_count = static_cast<std::uint32_t>(std::min<std::uint64_t>(overflow, Link::Overflow::kMax - 1));
  shape.table_bytes = std::clamp(shape.segment_bytes / 64 / 4096 * 4096, kTableBytesMin, kTriggerTableBytesMax);
  shape.trigger_slots =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(shape.segment_bytes / (16 * 1024), 64, kTriggerSlotsMax));

  // The page table's own size depends on the number of pages: shrink until everything fits.
  std::uint64_t pages = shape.segment_bytes / shape.page_bytes;
  while (pages > 0) {
    shape.page_count = static_cast<std::uint32_t>(pages);
    const auto regions = compute_regions(shape);
    const std::uint64_t end = regions[kRegionData].offset + regions[kRegionData].bytes;
    if (end <= shape.segment_bytes) break;
    pages -= std::min(pages, std::max<std::uint64_t>(1, (end - shape.segment_bytes) / shape.page_bytes));
  }
  if (pages < 4) return std::nullopt;
  shape.value_bytes_max = std::min(request.value_bytes_max, value_bytes_limit(shape));
  return shape;
}

}  // namespace cachee::layout
