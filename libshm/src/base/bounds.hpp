// Bounds that tell damage from contention. Each retry of a lock-free loop means that another
// operation succeeded; in a damaged segment none does, and the loop ends at its bound with
// Errc::corrupt. Tests that damage segments by the thousand build with small bounds.
#pragma once

#include <cstdint>

#include <cachee/types.hpp>

#include "base/clock.hpp"

namespace cachee::base {

#ifdef CACHEE_SMALL_BOUNDS
inline constexpr int kReadRestartsMax = 1 << 8;
inline constexpr int kWriteTriesMax = 1 << 8;
inline constexpr int kAppendRoundsMax = 1 << 8;
inline constexpr int kRoomRoundsMax = 1 << 6;
inline constexpr TimeNs kRoomWaitNs = 2 * kNsPerMs;
inline constexpr std::uint32_t kBlockMsMax = 2;
#else
inline constexpr int kReadRestartsMax = 1 << 20;
inline constexpr int kWriteTriesMax = 1 << 22;
inline constexpr int kAppendRoundsMax = 1 << 20;
inline constexpr int kRoomRoundsMax = 1 << 12;          // attempts of one write to make room
#ifdef CACHEE_MODEL
inline constexpr TimeNs kRoomWaitNs = 2 * kNsPerMs;     // nobody releases events meanwhile
#else
inline constexpr TimeNs kRoomWaitNs = kNsPerS;          // for memory that unreleased events hold
#endif
inline constexpr std::uint32_t kBlockMsMax = 3600'000;  // no trigger may hold a write back for longer
#endif
// A table is published rarely; whoever meets a new one each time is being held up on purpose.
inline constexpr int kTableRoundsMax = 1 << 10;

}  // namespace cachee::base
