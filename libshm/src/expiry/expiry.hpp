// Which buckets hold a deadline, in summary: the earliest deadline of each bucket's chain, of each
// 64 buckets, of each 64 of those, up to one root.
//
// EXPIRY PROTOCOL
//
//   writer   W1 lower every level, root first, bucket last, then look at every level upwards
//            W2 publish (slot CAS or exp CAS)   W3 lower again   W4 wake a sweeper that sleeps past it
//   sweeper  S0 name the bucket in the intent   S1 exchange the node with NEVER   S2 read the
//            children   S3 lower the node to what was seen, all levels above it too   S4 as W4: another
//            sweeper may have looked at the root between S1 and S3, and gone to sleep
//
// Invariants
//   [EX-1] A node <= the earliest deadline of every linked record below it that no active intent
//          names. A node that is too low costs a visit, never an event.
//   [EX-2] A record is removed as expired only after its own deadline has passed.
//
// Orders
//   W2 and W3's loads against S1 and S2: all seq_cst read-modify-writes or loads, so either S2 sees
//   the record, or W3 comes after S1 and lowers the node again. The same between a child lowered
//   by W and its parent, hence the way upwards.
//
// Killed between   what is left             who repairs
//   W1 and W2      a node too low           nobody needs to
//   W2 and W3      perhaps a node too high  recovery tends the bucket and lowers; the rolling scan too
//   S1 and S3      a node too high          recovery tends the bucket of S0; nodes above: whoever
//                                           recovers a client that swept for room (Act::evict), and
//                                           the next supervisor, lower every bucket's minimum anew
// Stopped between S1 and S3: the supervisor's help_stalled does the same.
#pragma once

#include <cstdint>

#include "segment/view.hpp"

namespace cachee::shm {

/// Deadline of a record (ms, monotonic) in the ms of the summary, rounded down and clamped.
[[nodiscard]] std::uint64_t summary_ms(const View& view, std::uint64_t deadline_ms) noexcept;

namespace detail {
void lower_nodes(const View& view, std::uint64_t bucket, std::uint64_t ms) noexcept;
void wake_sweeper(const View& view) noexcept;
}  // namespace detail

/// W1.
inline void lower_minima(const View& view, std::uint64_t bucket, std::uint64_t ms) noexcept {
  // Mostly every level is low enough: the bucket holds something that is due before. Then nothing has to be lowered
  // and no child is to be followed upwards; the bucket alone would not do, since a dead sweeper may have left the
  // nodes above it too high (tests/model/spin/summary.pml).
  bool low = layout::Link::Deadline::get(view.buckets[bucket].link.load_seq_cst()) <= ms;
  for (unsigned level = 0; low && level < view.levels.count; ++level) {
    low = view.minima[view.levels.start[level] + (bucket >> (6 * (level + 1)))].load_seq_cst() <= ms;
  }
  if (!low) [[unlikely]] detail::lower_nodes(view, bucket, ms);
}

/// W4. Wakes the sweeper if it sleeps past this deadline, which the root has by now.
inline void wake_for_deadline(const View& view, std::uint64_t ms) noexcept {
  SegmentHeader& header = *view.header;
  if (header.deadline_wanted.load_seq_cst() != 0 && ms < header.sweep_until_ms.load_relaxed()) [[unlikely]] {
    detail::wake_sweeper(view);
  }
}

/// W3 and W4, and whoever lowers for another. `ms` = 0 asks for a visit at the next sweep.
inline void lower_deadline(const View& view, std::uint64_t bucket, std::uint64_t ms) noexcept {
  lower_minima(view, bucket, ms);
  wake_for_deadline(view, ms);
}

/// Earliest deadline of all, in ms of the summary; Link::kNever: none.
[[nodiscard]] std::uint64_t earliest_deadline(const View& view) noexcept;

/// Visits buckets whose minimum is <= now_ms, at most `visits_max`. `intent` is the sweeping client's
/// bucket word (S0). `visit(bucket)` returns the earliest deadline left in the chain (Link::kNever:
/// none). Returns how many were visited. Several may sweep at once.
template <class Visit>
std::uint64_t sweep_deadlines(const View& view, Word& intent, std::uint64_t now_ms, std::uint64_t visits_max,
                              Visit&& visit) noexcept;

/// Lowers to what the buckets say, for a summary that was left too high.
void rebuild_summary(const View& view) noexcept;

}  // namespace cachee::shm

#include "expiry/expiry_inl.hpp"
