// What the dead left undone.
//
// Order for one client, every step harmless to repeat (a recoverer may die and another starts over):
//   1. the announcement of its bucket, if it names nw      -> help_insert
//   2. nw: linked -> pay its debt, retire what it replaced; PRIV and not linked -> ABORTED; further
//      -> it was installed and replaced since: retire what it had replaced. The slots are read before
//      the state: once seen unlinked, a dead client's record is never linked again.
//   3. old (validated): marked -> finish; unlinked with rm decided -> retire
//   4. pages and overflow buckets it was claiming; the bucket is tended, so the deadline is right
//   5. intent, hazards and pins := 0, then the slot FREE
// A full ring stops it before 5: the slot stays RECOVERING, its hazards hold, and it is tried again.
#pragma once

#include <cstdint>

#include "clients/clients.hpp"

namespace cachee::shm {

/// Recovers a client in state RECOVERING(by us). False: not finished (the ring is full).
bool recover_client(Context& context, std::uint32_t victim) noexcept;

/// Tries to become the recoverer of a client whose registration is dead (R1, R1').
bool claim_recovery(const View& view, std::uint32_t victim, std::uint64_t by, const Liveness& liveness) noexcept;

/// Redoes a release that a supervisor did not finish (K2-K4).
void redo_journal(const View& view) noexcept;

}  // namespace cachee::shm
