// One attached client thread: what it does (intent = hazards), its pins, who it is, its counts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

using base::Field;
using mem::Word;

inline constexpr unsigned kClientPins = 8;
inline constexpr unsigned kClientNameBytes = 32;

enum class Act : std::uint64_t { idle = 0, set = 1, erase = 2, expire = 3, evict = 4, touch = 5, read_event = 6 };

/// State word: state (2) | registration (31) | registration of whoever recovers it (31).
struct ClientState {
  enum State : std::uint64_t { kFree = 0, kLive = 1, kRecovering = 2 };
  using StateField = Field<0, 2>;
  using Registration = Field<2, 31>;
  using By = Field<33, 31>;
  static constexpr std::uint64_t make(State s, std::uint64_t registration, std::uint64_t by) noexcept {
    return StateField::make(s) | Registration::make(registration) | By::make(by);
  }
  static constexpr State state(std::uint64_t w) noexcept { return static_cast<State>(StateField::get(w)); }
};

enum Stat : unsigned {
  kHits, kMisses, kSets, kDeletes, kExpired, kEvicted, kEvents, kBackpressure, kRetries, kInserts, kReturned,
  kEvictedCost,  // a double's bits
  kWaitedForRoom, kSampled,
  kInsertBytes,  // of the blocks
  kStatCount = 16
};

struct alignas(64) Client {
  // Line 0: intent. The owner writes, everybody reads; the same words keep blocks from reuse.
  Word act;        //   0 Act
  Word nw;         //   8 block being built
  Word nw_uid;     //  16 its uid: a recoverer ignores nw when the block is of another life
  Word old;        //  24 record being replaced or removed
  Word old_valid;  //  32 1 once `old` was validated: only then may recovery write through it
  Word hz;         //  40 record being helped
  Word bucket;     //  48 bucket the operation works in
  Word overflow;   //  56 overflow bucket being claimed (index + 1)
  // Line 1: zero-copy views
  Word pins[kClientPins];  // 64
  // Line 2: identity
  Word state;           // 128 ClientState
  Word counter;         // 136 next uid counter; never reset
  Word pid;             // 144 diagnostic: pid in its namespace
  Word start_ticks;     // 152 start time of that pid, and its PID namespace (os/process.hpp)
  Word role;            // 160 cachee::Role
  Word attached_wall_ms;  // 168
  Word page;            // 176 page + 1 whose blocks are being freed: it is not drained meanwhile
  Word reserved0;       // 184
  // Lines 3, 4: counts, one writer
  Word stats[kStatCount];  // 192
  // Line 5: name
  Word name[kClientNameBytes / 8];  // 320
  Word note[3];                     // 352 parent, chain, depth of a removal under way (ring_layout.hpp, Note)
  Word reserved1[1];                // 376
};
static_assert(sizeof(Client) == 384 && offsetof(Client, state) == 128 && offsetof(Client, name) == 320);

}  // namespace cachee::layout
