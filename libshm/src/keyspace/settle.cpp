// What a record owes, and paying it.
#include "expiry/expiry.hpp"
#include "keyspace/keyspace.hpp"
#include "mem/crash_point.hpp"
#include "reclaim/reclaim.hpp"

namespace cachee::shm {

using layout::EventWord;
using layout::Hdr;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

namespace {

EventKind kind_of(Mark mark) noexcept {
  switch (mark) {
    case Mark::exp: return EventKind::expire;
    case Mark::evict: return EventKind::evict;
    default: return EventKind::del;
  }
}

/// [KS-2] for a creation: PRIV -> CLEAN | EV_PEND by whoever looks first.
RecordState settle(Context& context, std::uint64_t unit, const Interest* hint) noexcept {
  const View& view = *context.view;
  Record& record = *view.record(unit);
  std::uint64_t hdr = record.hdr.load_acquire();
  if (Hdr::state(hdr) != RecordState::priv) return Hdr::state(hdr);
  const std::uint64_t flags = layout::Lens::Flags::get(record.lens.load_relaxed());
  RecordState next = RecordState::clean;
  if ((flags & layout::kTouchCopy) == 0) {
    const EventKind kind = (flags & layout::kReadClone) != 0 ? EventKind::read : EventKind::write;
    const Interest interest =
        hint != nullptr && still_current(view, *hint) ? *hint : match_triggers(view, key_in_place(view, unit));
    if (interest.wants(kind)) {
      record.ev.cas(0, EventWord::make(EventWord::kPending, interest.generation(), 0));  // E0
      CACHEE_CRASH_POINT("keyspace.settle.pending");
      next = RecordState::ev_pend;
    }
  }
  const bool decided = record.hdr.cas_acq_rel(hdr, Hdr::with(hdr, next));
  CACHEE_CRASH_POINT("keyspace.settled");
  return decided ? next : Hdr::state(hdr);
}

}  // namespace

bool pay_open_debt(Context& context, std::uint64_t unit, const Interest* hint) noexcept {
  if (settle(context, unit, hint) != RecordState::ev_pend) return true;
  Record& record = *context.view->record(unit);
  const std::uint64_t flags = layout::Lens::Flags::get(record.lens.load_relaxed());
  const EventKind kind = (flags & layout::kReadClone) != 0 ? EventKind::read : EventKind::write;
  const std::uint64_t hdr = record.hdr.load_acquire();
  const CellInfo info{kind, 0, layout::Uid::Client::get(Hdr::Uid::get(hdr))};
  if (!append_event(context, unit, EventOf::creation, info)) return false;
  record.hdr.cas(Hdr::with(hdr, RecordState::ev_pend), Hdr::with(hdr, RecordState::ev_done));
  CACHEE_CRASH_POINT("keyspace.paid");
  return true;
}

bool finish_remove(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, bool admitted) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  Record& record = *view.record(unit);
  const EventKind kind = kind_of(Slot::mark(word));
  // An EXP mark may be set on a record whose own event found no room [KS-1].
  if (!pay_debt(context, unit, nullptr)) {
    lower_deadline(view, bucket, 0);
    return false;
  }
  std::uint64_t rm = record.rm.load_acquire();
  if (EventWord::state(rm) == EventWord::kUnset) {
    const Interest interest = match_triggers(view, key_in_place(view, unit));
    const auto state = interest.wants(kind) ? EventWord::kPending : EventWord::kNone;
    record.rm.cas(0, EventWord::make(state, interest.generation(), 0));  // R4
    CACHEE_CRASH_POINT("keyspace.remove.decided");
    rm = record.rm.load_acquire();
  }
  const auto state = EventWord::state(rm);
  if (state == EventWord::kPending || state == EventWord::kProposed) {
    const CellInfo info{kind, Slot::CauseField::get(word), Slot::Client::get(word), Slot::Frequency::get(word),
                        Slot::Noted::get(word) != 0};
    const bool may = admitted || state == EventWord::kProposed || ring_admits(view, Role::sweep);
    if (!may || !append_event(context, unit, EventOf::removal, info)) {
      lower_deadline(view, bucket, 0);  // [KS-6]
      return false;
    }
  }
  CACHEE_CRASH_POINT("keyspace.remove.appended");
  const std::uint64_t uid = Hdr::Uid::get(record.hdr.load_acquire());
  std::uint64_t expected = word;
  slot.cas_seq_cst(expected, Slot::empty(uid));  // X3
  CACHEE_CRASH_POINT("keyspace.remove.emptied");
  retire(context, unit);
  return true;
}

}  // namespace cachee::shm
