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
// The summary goes by CLOCK_MONOTONIC. A deadline of the wall clock stands in it as reckoned by `wall_offset` of the
// header, which the supervisor sets anew when the clocks have parted from it (a step, a suspend):
//
//   whoever lowers   O1 take the offset (the first writer: note it)   W1-W3, S2-S3   O2 look at it again; another:
//                    lower the bucket to 0
//   supervisor       V0 cas the offset: new, REVISING   V1 lower each bucket that holds a deadline to 0, so that a
//                    sweep visits it   V2 cas REVISING off
//
// Invariants
//   [EX-1] A node <= the earliest deadline of every linked record below it that no active intent
//          names. A node that is too low costs a visit, never an event. Deadlines of the wall clock are
//          held to it as `wall_offset` reckons them, and not while that is REVISING.
//   [EX-2] A record is removed as expired only after its own deadline has passed.
//   [EX-3] `wall_offset` is known before a deadline of the wall clock is published, and no word of it
//          comes back.
//
// Orders
//   W2 and W3's loads against S1 and S2: all seq_cst read-modify-writes or loads, so either S2 sees
//   the record, or W3 comes after S1 and lowers the node again. The same between a child lowered
//   by W and its parent, hence the way upwards.
//   O2 against V0 and V1, all seq_cst: O2 sees what V0 stored and lowers to 0, or it comes before V0, and so does the
//   lowering. Then V1 finds a deadline in the bucket, or a sweep between S1 and S3; that one's S2 sees the record [EX-1],
//   and its own O2 comes behind V0, or its S3 before V1. So no estimate by an old offset is left that V1 did not lower.
//   What V1 lowered is raised by a sweep whose S2 comes behind V0 and reckons by the new offset. A step that nobody has
//   noticed makes events late or visits vain, never a read wrong: a read looks at the record and the clock.
//
// Killed between   what is left             who repairs
//   W1 and W2      a node too low           nobody needs to
//   W2 and W3      perhaps a node too high  recovery tends the bucket and lowers; the rolling scan too
//   S1 and S3      a node too high          recovery tends the bucket of S0; nodes above: whoever
//                                           recovers a client that swept for room (Act::evict), and
//                                           the next supervisor, lower every bucket's minimum anew
//   W3 or S3, O2   perhaps a node too high  as behind S1: recovery tends the bucket by the offset of then
//   V0 and V2      REVISING                 the next supervisor begins again with V0
// Stopped between S1 and O2: the supervisor's help_stalled does the same.
#pragma once

#include <algorithm>
#include <cstdint>

#include "segment/view.hpp"

namespace cachee::shm {

namespace detail {
void lower_nodes(const View& view, std::uint64_t bucket, std::uint64_t ms) noexcept;
void wake_sweeper(const View& view) noexcept;
/// A deadline of the wall clock in ms of the summary, by this word of `wall_offset`; 0 if it knows none.
[[nodiscard]] std::uint64_t reckoned_ms(const View& view, layout::Deadline deadline, std::uint64_t offset) noexcept;
/// O1 of the first writer.
void note_offset(const View& view) noexcept;
}  // namespace detail

/// A record's deadline, which is set, in the ms of the summary, rounded down and clamped.
[[nodiscard]] inline std::uint64_t summary_ms(const View& view, layout::Deadline deadline) noexcept {
  if (deadline.is_wall()) [[unlikely]] {
    return detail::reckoned_ms(view, deadline, view.header->wall_offset.load_seq_cst());  // O1
  }
  const std::uint64_t origin_ms = view.created_mono_ns / base::kNsPerMs;
  return deadline.ms() <= origin_ms ? 0 : std::min(deadline.ms() - origin_ms, layout::Link::kDeadlineMax);
}

/// W1 in ms of the summary.
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

/// W1 for a record's deadline.
inline void lower_before(const View& view, std::uint64_t bucket, layout::Deadline deadline) noexcept {
  if (deadline.is_wall()) [[unlikely]] detail::note_offset(view);
  lower_minima(view, bucket, summary_ms(view, deadline));
}

/// O1 and O2 around whatever lowers a bucket to what its records say.
class OffsetLook {
 public:
  explicit OffsetLook(const View& view) noexcept : view_{view}, offset_{view.header->wall_offset.load_seq_cst()} {}
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  void again(std::uint64_t bucket) const noexcept;

 private:
  const View& view_;
  std::uint64_t offset_;
};

/// W3 and W4 for a record's deadline.
inline void lower_behind(const View& view, std::uint64_t bucket, layout::Deadline deadline) noexcept {
  if (!deadline.is_wall()) [[likely]] return lower_deadline(view, bucket, summary_ms(view, deadline));
  const OffsetLook look{view};
  lower_deadline(view, bucket, detail::reckoned_ms(view, deadline, look.offset()));
  look.again(bucket);
}

/// Whether the clocks have parted from `wall_offset`, or it is still REVISING.
[[nodiscard]] bool offset_is_stale(const View& view) noexcept;

/// V0 to V2, in steps of one thread of the supervisor.
class OffsetRevision {
 public:
  /// Looks whether the clocks have parted, and lowers up to `buckets_max` buckets if so. To be followed by a sweep.
  void step(const View& view, std::uint64_t buckets_max) noexcept;

 private:
  std::uint64_t word_ = 0;    // what V0 stored; 0: no revision of ours is under way
  std::uint64_t bucket_ = 0;  // the next one of V1
};

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
