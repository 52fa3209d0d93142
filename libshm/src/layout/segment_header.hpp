// The first page of a segment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "layout/client_layout.hpp"
#include "layout/ring_layout.hpp"
#include "layout/slab_layout.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

inline constexpr std::uint64_t kMagic = 0x3130656568636143ull;  // "Cachee01"
inline constexpr std::uint32_t kByteOrder = 0x01020304;

enum Region : unsigned {
  kRegionClients, kRegionBuckets, kRegionOverflow, kRegionOverflowOwners, kRegionHeat, kRegionGhost, kRegionSamples, kRegionMinima,
  kRegionLanes, kRegionRing, kRegionTableA, kRegionTableB, kRegionCounters, kRegionJournal,
  kRegionPages, kRegionFreeBits, kRegionHintBits, kRegionAvailable, kRegionData, kRegionCount
};

struct RegionEntry {
  std::uint64_t offset;
  std::uint64_t bytes;
};

/// What a segment was made with; fixed for its life and the same for all who compute geometry.
struct Shape {
  std::uint64_t segment_bytes;
  std::uint64_t value_bytes_max;
  std::uint32_t ring_events;
  std::uint32_t clients_max;
  std::uint32_t page_bytes;
  std::uint32_t bucket_count;
  std::uint32_t overflow_count;
  std::uint32_t page_count;
  std::uint32_t classes;
  std::uint32_t trigger_slots;
  std::uint64_t table_bytes;  // of one trigger table buffer
  friend bool operator==(const Shape&, const Shape&) = default;
};
static_assert(sizeof(Shape) == 56);

struct alignas(4096) SegmentHeader {
  Word magic;                  //   0 published last
  std::uint32_t layout_major;  //   8
  std::uint32_t layout_minor;  //  12
  std::uint64_t fingerprint;   //  16
  std::uint32_t byte_order;    //  24
  std::uint32_t reserved0;     //  28
  std::uint64_t epoch[2];      //  32 random; part of event ids
  std::uint64_t hash_seed;     //  48
  std::uint64_t created_wall_ns;  // 56
  std::uint64_t created_mono_ns;  // 64 zero of the ms clocks of the index
  Shape shape;                 //  72
  RegionEntry regions[kRegionCount];  // 128
  std::uint8_t reserved1[1024 - 128 - sizeof(RegionEntry) * kRegionCount];
  // 1024: read by every writer, changed by registration only
  Word trigger_word;           // 1024 TriggerWord
  Word reserved2[7];
  // 1088: ring, consumer's side
  Word ring_head;              // 1088
  Word reserved3[7];
  // 1152: ring, producers' side
  Word ring_tail;              // 1152
  Word reserved4[7];
  // 1216: sleeping on space or acknowledgement
  mem::Shared<std::uint32_t> space_wake;    // 1216 futex: the head moved
  mem::Shared<std::uint32_t> space_wanted;  // 1220
  mem::Shared<std::uint32_t> ack_wake;      // 1224 futex: something was acknowledged
  mem::Shared<std::uint32_t> ack_wanted;    // 1228
  mem::Shared<std::uint32_t> deadline_wake;    // 1232 futex: an earlier deadline was set
  mem::Shared<std::uint32_t> deadline_wanted;  // 1236
  Word sweep_until_ms;                      // 1240 the sweeper sleeps until then
  Word wait_asked;                          // 1248 a WAIT asks something of the supervisor
  Word wall_offset;                         // 1256 WallOffset
  Word reserved5[2];
  // 1280: eviction
  Word evict_epoch;            // 1280
  Word evict_policy;           // 1288
  Word evict_hand;             // 1296 global slot
  Word page_hand;              // 1304
  Word evicted_cost_before;    // 1312 double: what all evictions had cost a minute ago, as the supervisor saw it
  Word memory_wanted;          // 1320 1 when an allocator found nothing: class_missed says of which class
  Word ghost_used;             // 1328 1 from the first eviction on
  Word sample_below;           // 1336 reads whose sample bits are below are sampled
  // 1344: rare
  Word registrations;          // 1344 next registration number
  Word clients_used;           // 1352 client slots ever used
  Word version_floor;          // 1360 new keys start above it
  Word supervisor_pid;         // 1368
  Word supervisor_heartbeat;   // 1376 monotonic ns
  Word supervisor_start;       // 1384 wall ms
  Word clean_shutdown;         // 1392
  Word miss_estimates;         // 1400 kMissEstimates of 16 bits; 0: none yet
  Word gone_stats[kStatCount]; // 1408 counts of clients that left or died
  Word wait_slots[kWaitSlots]; // 1536 WaitWord
  mem::Shared<std::uint32_t> class_weights[kClassesMax + 1];  // int32 each: calibration.hpp; last: runs
  mem::Shared<std::uint32_t> class_missed[kClassesMax + 1];   // blocks that writers made room for, since the supervisor looked
  mem::Shared<std::uint32_t> run_pages_taken;                 // since then
  mem::Shared<std::uint32_t> run_pages_longest;               // of one run, since then
  std::uint8_t reserved8[4096 - 1536 - 8 * kWaitSlots - 8 * (kClassesMax + 1) - 8];
};
static_assert(sizeof(SegmentHeader) == 4096);
static_assert(offsetof(SegmentHeader, trigger_word) == 1024);
static_assert(offsetof(SegmentHeader, evicted_cost_before) == 1312);
static_assert(offsetof(SegmentHeader, wall_offset) == 1256);
static_assert(offsetof(SegmentHeader, gone_stats) == 1408);
static_assert(offsetof(SegmentHeader, wait_slots) == 1536);

}  // namespace cachee::layout
