// A constant that differs whenever the meaning of the segment's bytes may.
#pragma once

#include <cstdint>

#include <cachee/version.hpp>

#include "layout/client_layout.hpp"
#include "layout/index_layout.hpp"
#include "layout/record_layout.hpp"
#include "layout/ring_layout.hpp"
#include "layout/segment_header.hpp"
#include "layout/slab_layout.hpp"
#include "layout/trigger_layout.hpp"

namespace cachee::layout {

constexpr std::uint64_t mix_fingerprint(std::uint64_t h, std::uint64_t v) noexcept {
  return (h ^ v) * 0x100000001b3ull;
}
constexpr std::uint64_t compute_fingerprint() noexcept {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (const std::uint64_t v : std::initializer_list<std::uint64_t>{
           kLayoutMajor, kLayoutMinor, sizeof(SegmentHeader), sizeof(Client), sizeof(Bucket), sizeof(OverflowBucket),
           sizeof(Record), sizeof(ExtensionHeader), sizeof(Cell), sizeof(LanePage), sizeof(TriggerCounters),
           sizeof(Journal), kRegionCount, kHeadSlots, kOverflowSlots, kHeatPerBucket, sizeof(Heat), kGhostWays,
           kBucketsPerGhostSet, kSampleWords, kSampleRange, kOffsetBits, kOffsetUnit,
           kBlockBytesMin, Deadline::kWall, kClassesMax, kClassBytes.back(), kItemWords, kTableFilterAt, kFilterBitsPerItem, kLanes, kClientPins,
           offsetof(SegmentHeader, ring_head), offsetof(SegmentHeader, ring_tail),
           offsetof(SegmentHeader, wall_offset), offsetof(SegmentHeader, evict_epoch), offsetof(SegmentHeader, evicted_cost_before),
           offsetof(SegmentHeader, registrations), offsetof(SegmentHeader, wait_slots), offsetof(SegmentHeader, class_weights),
           offsetof(SegmentHeader, run_pages_longest), offsetof(Client, stats),
           offsetof(Client, note)}) {
    h = mix_fingerprint(h, v);
  }
  return h;
}
inline constexpr std::uint64_t kFingerprint = compute_fingerprint();

}  // namespace cachee::layout
