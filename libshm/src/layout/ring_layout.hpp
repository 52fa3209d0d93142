// The event ring: cells, and the lane words of the executors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

using base::Field;
using mem::Word;

/// Cell word. Empty for position p: 1 | p. Filled: 0 | noted | frequency | kind | cause | client | offset.
struct CellWord {
  static constexpr std::uint64_t kEmpty = std::uint64_t{1} << 63;
  using Noted = Field<61, 1>;      // removals: `note` says what set it off
  using Frequency = Field<56, 5>;  // removals: how used the record was
  using Kind = Field<53, 3>;
  using CauseField = Field<50, 3>;
  using Client = Field<40, 10>;
  using Offset = Field<0, 40>;
  static constexpr std::uint64_t empty(std::uint64_t position) noexcept { return kEmpty | position; }
  static constexpr bool is_empty(std::uint64_t w) noexcept { return (w & kEmpty) != 0; }
  static constexpr std::uint64_t make(std::uint64_t offset, std::uint64_t kind, std::uint64_t cause,
                                      std::uint64_t client, std::uint64_t frequency, bool noted) noexcept {
    return Noted::make(noted ? 1 : 0) | Frequency::make(frequency) | Kind::make(kind) | CauseField::make(cause) |
           Client::make(client) | Offset::make(offset);
  }
};

/// Written by the supervisor alone.
struct CellStatus {
  using Attempts = Field<0, 16>;
  using Acknowledged = Field<16, 1>;
  using Moved = Field<17, 1>;  // acknowledged, but the disk has runs of it that are not over
  using CountedBelow = Field<18, 20>;  // triggers whose slot is below have it in their counters, though it is not released
};

/// What set a removal off (Provenance), each word with the lap of its cell: a word of another lap
/// says nothing.
enum Note : unsigned { kNoteParent, kNoteChain, kNoteDepth, kNoteWords };
struct NoteWord {
  using Lap = Field<48, 16>;
  using Value = Field<0, 48>;
};

/// A line of its own: appenders of neighbouring positions do not meet in it.
struct alignas(64) Cell {
  Word word;              //  0
  Word wall_us;           //  8 when it was appended; empty(position) until somebody stamped it
  Word status;            // 16 CellStatus
  Word note[kNoteWords];  // 24 NoteWord, of a word with Noted
  Word reserved[2];       // 48
};
static_assert(sizeof(Cell) == 64 && offsetof(Cell, note) == 24);

/// One question of a WAIT: whether every run of the event at a position is over.
struct WaitWord {
  enum State : std::uint64_t { kFree = 0, kAsked = 1, kAcknowledged = 2 };
  using StateField = Field<0, 2>;
  using Position = Field<2, 48>;
  static constexpr std::uint64_t make(State s, std::uint64_t position) noexcept {
    return StateField::make(s) | Position::make(position);
  }
  static constexpr State state(std::uint64_t w) noexcept { return static_cast<State>(StateField::get(w)); }
};
inline constexpr unsigned kWaitSlots = 64;

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
  Word asleep;                         // 1024 1: an executor sleeps or is about to; whoever wakes takes it
  mem::Shared<std::uint32_t> wake;     // 1032 futex word
  std::uint32_t reserved0;             // 1036
  std::uint64_t reserved1[382];        // 1040
};
static_assert(sizeof(LanePage) == 4096 && offsetof(LanePage, wake) == 1032);

}  // namespace cachee::layout
