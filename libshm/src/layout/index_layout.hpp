// Words of the index: slots, announcement, link; and the eviction word beside each slot.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "layout/record_layout.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

enum class Mark : std::uint64_t { live = 0, del = 1, exp = 2, evict = 3 };

/// Slot word. Live: 1 | mark 0 | tag | offset. Marked: 1 | mark | cause | noted | frequency | client | offset.
/// Empty: 0 | uid of the record that went last (unique, so an empty word never comes back).
struct Slot {
  static constexpr std::uint64_t kOccupied = std::uint64_t{1} << 63;
  using MarkField = Field<61, 2>;
  using CauseField = Field<58, 3>;
  using Client = Field<40, 10>;    // of whoever marked it
  using Frequency = Field<50, 5>;  // how used the record was when it was marked
  using Noted = Field<55, 1>;      // that client's `note` says what set the removal off
  using Tag = Field<40, 16>;
  using Offset = Field<0, 40>;
  static constexpr bool occupied(std::uint64_t w) noexcept { return (w & kOccupied) != 0; }
  static constexpr Mark mark(std::uint64_t w) noexcept { return static_cast<Mark>(MarkField::get(w)); }
  static constexpr std::uint64_t live(std::uint64_t offset, std::uint64_t tag) noexcept {
    return kOccupied | Tag::make(tag) | Offset::make(offset);
  }
  static constexpr std::uint64_t marked(std::uint64_t offset, Mark mark, std::uint64_t cause,
                                        std::uint64_t client, std::uint64_t frequency, bool noted = false) noexcept {
    return kOccupied | Noted::make(noted ? 1 : 0) | MarkField::make(static_cast<std::uint64_t>(mark)) | CauseField::make(cause) |
           Client::make(client) | Frequency::make(frequency) | Offset::make(offset);
  }
  static constexpr std::uint64_t empty(std::uint64_t uid) noexcept { return uid; }
};

/// Announcement of an insertion. Busy: 1 | place in the chain | tag | offset. Idle: 0 | uid.
struct Ins {
  static constexpr std::uint64_t kBusy = std::uint64_t{1} << 63;
  using Place = Field<56, 7>;
  using Tag = Field<40, 16>;
  using Offset = Field<0, 40>;
  static constexpr bool busy(std::uint64_t w) noexcept { return (w & kBusy) != 0; }
  static constexpr std::uint64_t make(std::uint64_t place, std::uint64_t tag, std::uint64_t offset) noexcept {
    return kBusy | Place::make(place) | Tag::make(tag) | Offset::make(offset);
  }
};

/// Overflow bucket (index + 1; 0: none) and the earliest deadline of the chain in ms since the
/// segment was made (kNever: none). Only the head bucket's deadline counts.
struct Link {
  using Overflow = Field<38, 26>;
  using Deadline = Field<0, 38>;
  static constexpr std::uint64_t kNever = Deadline::kMax;
  static constexpr std::uint64_t kDeadlineMax = kNever - 1;
};

/// The wall clock minus CLOCK_MONOTONIC, in us, by which the summary reckons deadlines of the wall clock
/// (expiry.hpp). 0: no such deadline was ever set.
struct WallOffset {
  static constexpr std::uint64_t kKnown = 1;
  static constexpr std::uint64_t kRevising = 2;  // buckets reckoned by the last one are still to be visited
  using Count = Field<2, 6>;                     // of changes, so that no word comes back while somebody looks twice
  static constexpr std::uint64_t make(std::int64_t us, std::uint64_t count, std::uint64_t revising) noexcept {
    return static_cast<std::uint64_t>(us) << 8 | Count::make(count & Count::kMax) | revising | kKnown;
  }
  static constexpr std::int64_t us(std::uint64_t w) noexcept { return static_cast<std::int64_t>(w) >> 8; }
};

inline constexpr unsigned kHeadSlots = 6;
inline constexpr unsigned kOverflowSlots = 7;
inline constexpr unsigned kChainPlacesMax = 125;   // 6 + 17 overflow buckets of 7
inline constexpr unsigned kChainBucketsMax = 18;

struct alignas(64) Bucket {
  Word slots[kHeadSlots];  //  0
  Word ins;                // 48
  Word link;               // 56
};
static_assert(sizeof(Bucket) == 64 && offsetof(Bucket, ins) == 48);

struct alignas(64) OverflowBucket {
  Word slots[kOverflowSlots];  //  0
  Word link;                   // 56 Overflow field only
};
static_assert(sizeof(OverflowBucket) == 64);

/// Owner of an overflow bucket: 0 free; else bucket + 1 (40) | client that claimed it (10).
struct OverflowOwner {
  using BucketPlusOne = Field<0, 40>;
  using Client = Field<40, 10>;
};

/// Eviction word of a slot, in memory that is never anything else (protocol.md F8): a reader may
/// store to it without protection. Epochs are counted modulo kEpochs, which is 32 turnovers of the
/// cache; the hand brings ages down long before they come round (eviction.hpp).
using Heat = mem::Shared<std::uint32_t>;
struct HeatWord {
  static constexpr unsigned kFrequencyMax = 31;
  static constexpr unsigned kEpochBits = 11;
  static constexpr std::uint32_t kEpochMask = (1u << kEpochBits) - 1;
  static constexpr unsigned kCostClasses = 32;   // octaves of the recomputation cost
  static constexpr unsigned kCostClassOne = 16;  // of cost 1
  static constexpr std::uint32_t frequency(std::uint32_t w) noexcept { return w & 31u; }
  static constexpr bool returned(std::uint32_t w) noexcept { return (w & 32u) != 0; }
  static constexpr unsigned cost_class(std::uint32_t w) noexcept { return w >> 6 & 31u; }
  static constexpr std::uint32_t hit_epoch(std::uint32_t w) noexcept { return w >> 11 & kEpochMask; }
  /// In units of two epochs.
  static constexpr std::uint32_t birth_epoch(std::uint32_t w) noexcept { return w >> 22 << 1; }
  static constexpr std::uint32_t recency(std::uint32_t w, std::uint64_t epoch) noexcept {
    return (static_cast<std::uint32_t>(epoch) - hit_epoch(w)) & kEpochMask;
  }
  static constexpr std::uint32_t age(std::uint32_t w, std::uint64_t epoch) noexcept {
    return (static_cast<std::uint32_t>(epoch) - birth_epoch(w)) & kEpochMask;
  }
  static constexpr std::uint32_t make(std::uint32_t f, bool returned, unsigned cost_class, std::uint64_t hit,
                                      std::uint64_t birth) noexcept {
    return (f & 31u) | (returned ? 32u : 0u) | (cost_class & 31u) << 6 |
           (static_cast<std::uint32_t>(hit) & kEpochMask) << 11 | (static_cast<std::uint32_t>(birth) & kEpochMask) >> 1 << 22;
  }
  static constexpr std::uint32_t with_cost_class(std::uint32_t w, unsigned cost_class) noexcept {
    return (w & ~(31u << 6)) | (cost_class & 31u) << 6;
  }
  /// What a hit in this epoch makes of the word; the same word if there was one already.
  static constexpr std::uint32_t touched(std::uint32_t w, std::uint64_t epoch) noexcept {
    const std::uint32_t now = static_cast<std::uint32_t>(epoch) & kEpochMask;
    if (hit_epoch(w) == now) return w;
    return ((w & ~(kEpochMask << 11)) | now << 11) + (frequency(w) < kFrequencyMax ? 1u : 0u);
  }
};
inline constexpr unsigned kHeatPerBucket = 8;  // one 32-byte group per bucket, 6 or 7 used

/// Entry of the ghost: a key that was evicted not long ago. 0: none.
using Ghost = mem::Shared<std::uint32_t>;
struct GhostWord {
  static constexpr std::uint32_t frequency(std::uint32_t w) noexcept { return w & 31u; }
  static constexpr std::uint32_t hit_epoch(std::uint32_t w) noexcept { return w >> 5 & HeatWord::kEpochMask; }
  static constexpr std::uint32_t fingerprint(std::uint32_t w) noexcept { return w >> 16; }
  static constexpr std::uint32_t make(std::uint32_t fingerprint, std::uint32_t f, std::uint32_t hit) noexcept {
    return fingerprint << 16 | (hit & HeatWord::kEpochMask) << 5 | (f & 31u);
  }
};
/// Reads are sampled by the half of the key's hash that does not choose its bucket: one comparison.
inline constexpr std::uint64_t kSampleRange = std::uint64_t{1} << 32;
constexpr std::uint32_t sample_bits(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash); }
inline constexpr unsigned kSampleWords = 32;  // of one client: hashes of its last sampled reads
/// Estimated miss ratios for these multiples of the present size, 16 bits each, in one word.
inline constexpr unsigned kMissEstimates = 4;
inline constexpr double kMissEstimateSizes[kMissEstimates] = {0.5, 1, 2, 4};
inline constexpr double kMissEstimateOne = 65535;

inline constexpr unsigned kGhostWays = 16;          // a set is one cache line
inline constexpr unsigned kBucketsPerGhostSet = 4;  // so it remembers as many keys as buckets are made for

}  // namespace cachee::layout
