// The event ring: cells, and the lane words of the executors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

using base::Field;
using mem::Word;

/// Cell word. Empty for position p: 1 | p. Filled: 0 | frequency | kind | cause | client | offset.
struct CellWord {
  static constexpr std::uint64_t kEmpty = std::uint64_t{1} << 63;
  using Frequency = Field<56, 5>;  // removals: how used the record was
  using Kind = Field<53, 3>;
  using CauseField = Field<50, 3>;
  using Client = Field<40, 10>;
  using Offset = Field<0, 40>;
  static constexpr std::uint64_t empty(std::uint64_t position) noexcept { return kEmpty | position; }
  static constexpr bool is_empty(std::uint64_t w) noexcept { return (w & kEmpty) != 0; }
  static constexpr std::uint64_t make(std::uint64_t offset, std::uint64_t kind, std::uint64_t cause,
                                      std::uint64_t client, std::uint64_t frequency) noexcept {
    return Frequency::make(frequency) | Kind::make(kind) | CauseField::make(cause) | Client::make(client) | Offset::make(offset);
  }
};

/// Written by the supervisor alone.
struct CellStatus {
  using Attempts = Field<0, 16>;
  using Acknowledged = Field<16, 1>;
};

struct alignas(32) Cell {
  Word word;      //  0
  Word wall_us;   //  8 when it was appended; empty(position) until somebody stamped it
  Word status;    // 16 CellStatus
  Word reserved;  // 24
};
static_assert(sizeof(Cell) == 32);

/// One executor's words; see maintain.hpp, class Lane.
struct alignas(64) LaneWords {
  Word claim;          //  0 STOP bit | position
  Word running_seq;    //  8
  Word running_slot;   // 16
  Word running_since;  // 24 monotonic ns; 0: idle
  Word running_token;  // 32
  Word reserved[3];    // 40
};
static_assert(sizeof(LaneWords) == 64);
inline constexpr std::uint64_t kLaneStop = std::uint64_t{1} << 63;

inline constexpr unsigned kLanes = 16;
/// A page of its own: executors map it writable, the rest of the segment read-only.
struct alignas(4096) LanePage {
  LaneWords lanes[kLanes];             // 0
  Word sleepers;                       // 1024 executors that sleep or are about to
  mem::Shared<std::uint32_t> wake;     // 1032 futex word
  std::uint32_t reserved0;             // 1036
  std::uint64_t reserved1[382];        // 1040
};
static_assert(sizeof(LanePage) == 4096 && offsetof(LanePage, wake) == 1032);

}  // namespace cachee::layout
