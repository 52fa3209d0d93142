// Bytes of one record: one version of one key, in one block.
//
//   +0   ev      event word of the creation
//   +8   rm      event word of the removal
//   +16  link    prev block (40) | version, middle 24 bits
//   +24  hdr     uid (61) | state (3)           <- what a reader validates
//   +32  exp     deadline: WALL, ms (46) | version, low 16 bits | FROZEN
//   +40  lens    version, high 12 bits | flags (3) | value bytes (32) | key bytes (17)
//   +48  key, padded to 8; value, padded to 8; extension if kHasExtension
//
// The first two words are cold: a GET never touches them. A key of 16 bytes and a value of 64 make a
// block of 128 bytes, which is two cache lines of its own; the version fills what the other fields
// leave free, and says when the value was written (in us since the segment was made), so that no
// birth time is stored.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

using base::Field;
using mem::Word;

inline constexpr unsigned kOffsetBits = 40;       // of a block, in units of 8 bytes: 8 TiB
inline constexpr std::uint64_t kOffsetUnit = 8;
inline constexpr std::uint64_t kNoRecord = 0;     // unit 0 is the header, never a block

enum class RecordState : std::uint64_t {
  free = 0,      // nobody's; the claim is a CAS from here
  priv = 1,      // being built, or installed and not yet settled
  clean = 2,     // settled: no event owed
  ev_pend = 3,   // settled: event owed
  ev_done = 4,   // event has its place in the ring
  retired = 5,   // out of the index for ever
  aborted = 6,   // never was in the index (differs from retired: protocol.md F10)
};

struct Hdr {
  using State = Field<0, 3>;
  using Uid = Field<3, 61>;
  static constexpr std::uint64_t make(std::uint64_t uid, RecordState state) noexcept {
    return Uid::make(uid) | static_cast<std::uint64_t>(state);
  }
  static constexpr RecordState state(std::uint64_t w) noexcept {
    return static_cast<RecordState>(State::get(w));
  }
  static constexpr std::uint64_t with(std::uint64_t w, RecordState s) noexcept {
    return State::set(w, static_cast<std::uint64_t>(s));
  }
};

/// Identity of a record for ever: client slot (10) | counter of that slot (51).
struct Uid {
  using Counter = Field<0, 51>;
  using Client = Field<51, 10>;
  static constexpr std::uint64_t make(std::uint64_t client, std::uint64_t counter) noexcept {
    return Client::make(client) | Counter::make(counter);
  }
};

/// When a record ends: ms of CLOCK_MONOTONIC (a TTL), or of CLOCK_REALTIME (a moment that somebody named). All bits
/// 0: never. Either clock has 2,229 years; what is further away is that far.
struct Deadline {
  static constexpr unsigned kBits = 47;
  static constexpr std::uint64_t kWall = std::uint64_t{1} << (kBits - 1);
  static constexpr std::uint64_t kMsMax = kWall - 1;
  std::uint64_t bits = 0;

  static constexpr Deadline monotonic(std::uint64_t ms) noexcept { return {std::min(ms, kMsMax)}; }
  static constexpr Deadline wall(std::int64_t ms) noexcept {
    return {kWall | static_cast<std::uint64_t>(std::clamp(ms, std::int64_t{0}, static_cast<std::int64_t>(kMsMax)))};
  }
  constexpr bool is_set() const noexcept { return bits != 0; }
  constexpr bool is_wall() const noexcept { return (bits & kWall) != 0; }
  constexpr std::uint64_t ms() const noexcept { return bits & kMsMax; }
  friend bool operator==(const Deadline&, const Deadline&) = default;
};

struct Exp {
  static constexpr std::uint64_t kFrozen = 1;  // the deadline may not change any more
  using VersionLow = Field<1, 16>;
  using DeadlineBits = Field<17, Deadline::kBits>;
  static constexpr std::uint64_t make(Deadline d) noexcept { return DeadlineBits::make(d.bits); }
  static constexpr Deadline deadline(std::uint64_t w) noexcept { return {DeadlineBits::get(w)}; }
  static constexpr std::uint64_t with(std::uint64_t w, Deadline d) noexcept { return DeadlineBits::set(w, d.bits); }
  /// The ms of a TTL; 0: never; negative: a deadline of the wall clock, whose bit is the word's sign. So whoever compares
  /// with CLOCK_MONOTONIC need not ask for the kind where nothing is due.
  static constexpr std::int64_t monotonic_ms(std::uint64_t w) noexcept { return static_cast<std::int64_t>(w) >> 17; }
};
static_assert(Exp::monotonic_ms(Exp::make(Deadline::monotonic(Deadline::kMsMax))) > 0);
static_assert(Exp::monotonic_ms(Exp::make(Deadline::wall(0))) < 0 && Exp::monotonic_ms(Exp::kFrozen) == 0);

struct Lens {
  using Key = Field<0, 17>;
  using Value = Field<17, 32>;
  using Flags = Field<49, 3>;
  using VersionHigh = Field<52, 12>;
};
inline constexpr std::uint64_t kHasExtension = 1;
inline constexpr std::uint64_t kReadClone = 2;   // an ON_READ event's copy; never in the index
inline constexpr std::uint64_t kTouchCopy = 4;   // same value, new deadline: no WRITE event

struct LinkWord {
  using Prev = Field<0, 40>;
  using VersionMiddle = Field<40, 24>;
};

/// Event word: what is owed and where it stands.
struct EventWord {
  enum State : std::uint64_t { kUnset = 0, kNone = 1, kPending = 2, kProposed = 3, kConfirmed = 4 };
  using StateField = Field<0, 3>;
  using Generation = Field<3, 13>;  // of the trigger table that decided
  using Position = Field<16, 48>;
  static constexpr std::uint64_t make(State s, std::uint64_t generation, std::uint64_t position) noexcept {
    return StateField::make(s) | Generation::make(generation) | Position::make(position);
  }
  static constexpr State state(std::uint64_t w) noexcept { return static_cast<State>(StateField::get(w)); }
  /// Removal word of a record whose successor owes an event that has no place yet: PENDING, with the
  /// successor's block as position (a removal of its own has 0 there until it is PROPOSED).
  static constexpr std::uint64_t follows(std::uint64_t unit) noexcept { return make(kPending, 0, unit); }
  static constexpr bool is_follows(std::uint64_t w) noexcept { return state(w) == kPending && Position::get(w) != 0; }
};

struct Record {
  Word ev;    //  0
  Word rm;    //  8
  Word link;  // 16
  Word hdr;   // 24
  Word exp;   // 32
  Word lens;  // 40
  // 48: payload
  Word* payload() noexcept { return reinterpret_cast<Word*>(this + 1); }
  const Word* payload() const noexcept { return reinterpret_cast<const Word*>(this + 1); }
};
static_assert(sizeof(Record) == 48 && offsetof(Record, hdr) == 24);

/// Extension behind the value: cost, provenance, metadata fields, dependencies.
struct ExtensionHeader {
  std::uint32_t bytes;     //  0 of the whole extension
  std::uint16_t fields;    //  4
  std::uint16_t parents;   //  6
  double cost;             //  8
  std::uint64_t parent;    // 16 provenance
  std::uint64_t chain;     // 24
  std::uint32_t depth;     // 32
  std::uint32_t reserved;  // 36
  // 40: fields (u32 name bytes, u32 value bytes, name, value), parents (u32 bytes, name)
};
static_assert(sizeof(ExtensionHeader) == 40);

inline constexpr std::uint64_t kBlockBytesMin = 64;
static_assert(kBlockBytesMin >= sizeof(Record));

}  // namespace cachee::layout
