// Operations on keys: the only module that orders two structures.
//
// KEYSPACE PROTOCOL (install -> settle -> append -> retire)
//
//   set     S0 admission   S1 allocate, fill   S2 protect the old record, pay its debt
//           S3 lower the deadline summary      S4 X1 or N1-N3          // LINEARIZES
//           S5 settle the new record           S6 append its event     S7 retire the old one
//           S8 lower the summary again         S9 clear the intent
//   remove  R0 admission   R1 protect, pay   R2 (expire) freeze the deadline, (else) look that it has not passed
//           R3 X2   // LINEARIZES
//           R4 decide and append the removal's event   R5 X3   R6 retire   R7 clear the intent
//   touch   T0 protect   T1 lower the summary   T2 cas exp   // LINEARIZES   T3 lower again
//
// Invariants
//   [KS-1] Pay first: a record is replaced or marked only when it is CLEAN, or EV_DONE (its event has
//          its place). That gives exactly one event per effect and the order of one key's events. The
//          EXP mark alone may come before the payment, when the ring has no room; then R4 pays first.
//   [KS-2] The decision whether an event is owed is made behind the linearization point, from the
//          trigger table of that moment, by one CAS (ev or rm word; then the state).
//   [KS-3] `retire` follows the removal from the index and the end of the removal's event word.
//   [KS-4] A replaced record's rm word gets the position of its successor's event: OLD lives until
//          that event is released. While that event finds no room, rm names the successor instead.
//   [KS-5] An expired record is absent for everybody who may write only by its EXP mark, so that no
//          later TOUCH contradicts; FROZEN stops a TOUCH that read the clock earlier. Neither a full
//          ring nor a busy neighbour keeps the mark away.
//   [KS-6] A debt that meets a full ring stays in the slot, the bucket's deadline is lowered to 0,
//          and the sweep pays it.
//   [KS-7] Only death permits undo; anything may be helped forward.
//
// Killed between    what is left                        who repairs (recovery.cpp)
//   S1 and S4       a PRIV block named by nw            -> ABORTED
//   S4 and S9       an unsettled or unpaid record, an   settle, append, retire the old one (evidence:
//                   old record not retired              nw was linked, or its state moved on)
//   R3 and R7       a marked slot, or one unretired     finish, retire
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <cachee/cache.hpp>
#include <cachee/options.hpp>
#include <cachee/result.hpp>

#include "clients/clients.hpp"
#include "index/index.hpp"
#include "mem/crash_point.hpp"
#include "reclaim/reclaim.hpp"
#include "record/record.hpp"
#include "ring/ring.hpp"
#include "segment/view.hpp"
#include "triggers/triggers.hpp"

namespace cachee::shm {

/// What a reader asks for; get_record() fills the fields that are set.
struct ReadTarget {
  std::string* value = nullptr;      // replaced
  std::string* extension = nullptr;  // replaced
  std::uint64_t version = 0;         // out
  Deadline deadline{};               // out
  std::uint64_t record_bytes = 0;    // out
};

/// GET: no store, no fence. `context` may be null (read-only handle): then an expired record is
/// merely absent. `hash` is that of the key. @error not_found, corrupt
Result<void> get_record(const View& view, Context* context, KeyView key, std::uint64_t hash, ReadTarget& target) noexcept;
inline Result<void> get_record(const View& view, Context* context, KeyView key, ReadTarget& target) noexcept {
  return get_record(view, context, key, view.hash(key), target);
}

/// The same without a use of the key: eviction, the counts and the estimate of other sizes do not learn of it.
Result<void> look_at_record(const View& view, Context* context, KeyView key, ReadTarget& target) noexcept;

/// How used the record of a key is, by its eviction word, and its deadline. To look is no use.
/// @error not_found, corrupt
Result<Deadline> peek_record(const View& view, KeyView key, std::uint32_t& hits) noexcept;

/// Pins the record of a key. @error not_found, would_block (no free pin)
struct Pinned {
  std::uint64_t unit = 0;
  unsigned pin = 0;
};
Result<Pinned> pin_record(Context& context, KeyView key) noexcept;

/// How a write gets from the old record to the new one.
struct WritePlan {
  virtual ~WritePlan() = default;
  /// Called with the protected old record (unit 0: the key is absent); fills `parts` and
  /// `deadline`, or returns why nothing is to be written. Runs again after a lost race.
  virtual Errc prepare(const View& view, std::uint64_t old_unit, Deadline old_deadline, RecordParts& parts,
                       Deadline& deadline) = 0;
  bool keeps_deadline = false;  // freeze the old deadline before the new record takes it over
  bool same_parts = false;      // prepare() gives the same bytes each time
  bool touch_copy = false;      // same value and version, no event
  bool makes_room = true;       // false: rather not written than that something else goes
  static constexpr bool independent() noexcept { return false; }  // of the old record: see PlainSet
  /// What the old record's deadline and version are held against; a moment of this operation, or kCoarseLagNs before.
  TimeNs now() const noexcept { return base::now_coarse_ns(); }
  /// Called when the write replaced this record, which is still protected.
  void show_old(const View&, std::uint64_t) noexcept {}
};
Result<WriteResult> write_record(Context& context, KeyView key, WritePlan& plan) noexcept;
Result<WriteResult> set_record(Context& context, KeyView key, ValueView value, const SetOptions& options) noexcept;

Result<EraseResult> erase_record(Context& context, KeyView key, const EraseOptions& options) noexcept;
/// `decide` gets the deadline and returns the new one (not set: it never ends), or none to leave it.
struct TouchPlan {
  virtual ~TouchPlan() = default;
  virtual std::optional<Deadline> decide(Deadline deadline) = 0;
};
Result<bool> touch_record(Context& context, KeyView key, TouchPlan& plan) noexcept;

/// Visits live, unexpired keys of a bucket; the key may be gone when the sink is called.
template <class Sink>
void scan_bucket(const View& view, std::uint64_t bucket, std::string& key, Sink&& sink);

/// Does everything that is due in a bucket: helps insertions, pays debts, finishes marks, expires.
/// Returns the earliest deadline left (ms of the summary) and counts what expired.
std::uint64_t tend_bucket(Context& context, std::uint64_t bucket, std::uint64_t& expired) noexcept;
/// The same in the place of a client that stopped, which may have left the summary too high. Returns what expired.
std::uint64_t tend_and_lower(Context& context, std::uint64_t bucket) noexcept;

/// Removes one record by its slot with mark EVICT. False: not possible now.
bool evict_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word) noexcept;

/// What a read has found, for its event.
struct ReadRecord {
  ValueView value{};
  std::string_view extension{};
  std::uint64_t version = 0;
  Deadline deadline{};
};
/// ON_READ: a copy of what was read goes into the ring. @error full, no_space  there is no event: the read must fail, too
Errc emit_read(Context& context, KeyView key, const ReadRecord& read, const Interest& interest) noexcept;
/// GET beside triggers that may want ON_READ. @error not_found, corrupt, full, no_space
Result<void> get_and_tell(Context& context, KeyView key, std::uint64_t hash, ReadTarget& target);

// Building blocks that recovery shares.
/// settle + append of a record's creation. False: the ring is full.
bool pay_open_debt(Context& context, std::uint64_t unit, const Interest* hint) noexcept;
/// The same; nothing to do for a record that is settled and paid, as most are.
inline bool pay_debt(Context& context, std::uint64_t unit, const Interest* hint) noexcept {
  const auto state = layout::Hdr::state(context.view->record_at(unit).hdr.load_acquire());
  if (state == layout::RecordState::clean || state == layout::RecordState::ev_done) [[likely]] return true;
  return pay_open_debt(context, unit, hint);
}
/// The same for a record that the caller has just installed, with the interest that it saw before.
inline bool pay_own_debt(Context& context, std::uint64_t unit, std::uint64_t uid, const Interest& seen) noexcept {
  // Nobody wanted anything, and the table is still that one: the decision is known [KS-2].
  if (seen.wanted == 0 && still_current(*context.view, seen)) [[likely]] {
    layout::RecordState constexpr priv = layout::RecordState::priv;
    Word& hdr = context.view->record_at(unit).hdr;
    const bool settled = hdr.cas(layout::Hdr::make(uid, priv), layout::Hdr::make(uid, layout::RecordState::clean));
    CACHEE_CRASH_POINT("keyspace.settled.unwanted");
    if (settled) [[likely]] return true;
  }
  return pay_debt(context, unit, &seen);
}
/// R4-R6 for a marked slot; the record is protected. False: the ring is full.
bool finish_remove(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, bool admitted) noexcept;
/// [KS-4] and retire, for a record that `next_unit` replaced.
inline void retire_replaced(Context& context, std::uint64_t old_unit, std::uint64_t next_unit) noexcept {
  using layout::EventWord;
  using layout::Hdr;
  const View& view = *context.view;
  Record& old = view.record_at(old_unit);
  const Record& next = view.record_at(next_unit);
  std::uint64_t word = next.ev.load_acquire();
  if (EventWord::state(word) == EventWord::kUnset) [[likely]] {
    word = EventWord::make(EventWord::kNone, 0, 0);
  } else if (EventWord::state(word) != EventWord::kConfirmed) {
    // Owed, but the ring had no room - or written in vain by a helper that lost the decision.
    word = Hdr::state(next.hdr.load_acquire()) == layout::RecordState::clean ? EventWord::make(EventWord::kNone, 0, 0)
                                                                              : EventWord::follows(next_unit);
  }
  // [KS-4]
  if (Hdr::state(old.hdr.load_acquire()) != layout::RecordState::retired) old.rm.store_release(word);
  CACHEE_CRASH_POINT("keyspace.replaced");
  retire(context, old_unit);
}

inline std::uint64_t now_us() noexcept { return static_cast<std::uint64_t>(base::now_ns() / base::kNsPerUs); }
/// Deadline of a TTL that starts now: no earlier than asked for. What is not positive has passed.
inline Deadline deadline_in(std::int64_t left_us, std::uint64_t now = now_us()) noexcept {
  if (left_us <= 0) return Deadline::monotonic(now / 1000);
  return Deadline::monotonic((now + static_cast<std::uint64_t>(left_us) + 999) / 1000);
}
/// The same for any Ttl, up to Ttl::max().
inline Deadline deadline_after(Ttl ttl, std::uint64_t now = now_us()) noexcept {
  const std::int64_t us = ttl.count() / base::kNsPerUs;
  return deadline_in(ttl.count() > us * base::kNsPerUs ? us + 1 : us, now);
}
/// From now until a wall clock time, in us; centuries on either side at the most.
inline std::int64_t us_until(std::int64_t wall_ms) noexcept {
  constexpr auto kFarMs = static_cast<std::int64_t>(Deadline::kMsMax);
  const std::int64_t now_us_wall = base::wall_ns() / base::kNsPerUs;
  return std::clamp(wall_ms, -kFarMs, kFarMs) * 1000 - now_us_wall;
}
/// Deadline of a moment of the wall clock. One that is over has passed for good: no step back brings the value again.
inline Deadline deadline_at(std::int64_t wall_ms) noexcept {
  return us_until(wall_ms) <= 0 ? deadline_in(0) : Deadline::wall(wall_ms);
}
/// From now until a deadline that is set, in us, by its own clock.
inline std::int64_t us_until(Deadline deadline) noexcept {
  const auto ms = static_cast<std::int64_t>(deadline.ms());
  return deadline.is_wall() ? us_until(ms) : ms * 1000 - static_cast<std::int64_t>(now_us());
}
namespace detail {
/// Of a deadline of the wall clock: as that says now, however it got there.
[[nodiscard]] bool wall_deadline_passed(Deadline deadline) noexcept;
}  // namespace detail
/// True when a deadline has passed; reads the precise clock only when `coarse_now`, of CLOCK_MONOTONIC, cannot tell.
inline bool deadline_passed(std::uint64_t exp, TimeNs coarse_now) noexcept {
  const std::int64_t deadline_us = layout::Exp::monotonic_ms(exp) * 1000;
  if (deadline_us == 0) return false;
  const std::int64_t coarse_us = coarse_now / base::kNsPerUs;
  if (coarse_us + base::kCoarseLagNs / base::kNsPerUs < deadline_us) return false;
  if (deadline_us < 0) [[unlikely]] return detail::wall_deadline_passed(layout::Exp::deadline(exp));
  return coarse_us >= deadline_us || static_cast<std::int64_t>(now_us()) >= deadline_us;
}
inline bool deadline_passed(std::uint64_t exp) noexcept {
  return layout::Exp::monotonic_ms(exp) != 0 && deadline_passed(exp, base::now_coarse_ns());
}

template <class Sink>
void scan_bucket(const View& view, std::uint64_t bucket, std::string& key, Sink&& sink) {
  constexpr int kTriesMax = 64;
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    for (int tries = 0; tries < kTriesMax; ++tries) {
      const std::uint64_t word = walk.slot().load_acquire();
      if (!layout::Slot::occupied(word) || layout::Slot::mark(word) != layout::Mark::live) break;
      const std::uint64_t unit = layout::Slot::Offset::get(word);
      const Record* record = view.record(unit);
      if (record == nullptr) break;
      const std::uint64_t hdr = record->hdr.load_acquire();
      if (walk.slot().load_acquire() != word) continue;
      const RecordBounds b = bounds_of(view, unit, record->lens.load_relaxed());
      const std::uint64_t exp = record->exp.load_relaxed();
      if (b.fits) {
        key.resize(b.key_bytes);
        mem::copy_out(key.data(), record->payload(), b.key_bytes);
      }
      mem::fence_acquire();
      const std::uint64_t after = record->hdr.load_relaxed();
      if (layout::Hdr::Uid::get(after) != layout::Hdr::Uid::get(hdr)) continue;
      if (b.fits && !deadline_passed(exp)) sink(KeyView{key});
      break;
    }
  }
}

}  // namespace cachee::shm
