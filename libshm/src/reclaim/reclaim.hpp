// Safe memory reclamation: hazard pointers that are the intent words of the clients (M. Michael,
// "Hazard Pointers", 2004), and the ring as a retire list by position.
//
// RECLAIM PROTOCOL
//
//   protect  H1 store old|hz := unit   H2 fence seq_cst   H3 the slot still holds it
//   retire   T1 cas hdr CLEAN|EV_DONE -> RETIRED (out of the index before)
//   reclaim  Q1 read hdr (RETIRED|ABORTED), ev, rm   Q2 fence seq_cst   Q3 read every hazard
//            Q4 cas hdr -> FREE, exactly the word of Q1
//
// Invariants
//   [HP-1] A block goes RETIRED|ABORTED -> FREE only when no hazard (nw, old, hz, pin) of a client
//          that is not FREE names it and none of its events is unreleased (position >= head).
//   [HP-2] Whoever passed H3 may read and write the record until it clears the hazard.
//   [HP-3] Hazards of a dead client stay until its recovery is over.
//
// Orders
//   H2 with Q2 (both seq_cst): either Q3 sees the hazard, or H3 sees the slot changed, since the
//   block was out of the index before T1 and T1 before Q1.
//   done(word) reads ring_head with acquire: the handler's reads came before the release of its
//   position.
#pragma once

#include <algorithm>
#include <cstdint>

#include "clients/clients.hpp"
#include "mem/crash_point.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

inline constexpr std::size_t kRetiredBatch = 64;    // a reclaim pass every so many
inline constexpr std::size_t kRetiredKeptMax = 512;  // beyond: published as hints

/// PRIV -> ABORTED for a block that never was in the index.
void abort_block(Context& context, std::uint64_t unit, std::uint64_t uid) noexcept;

/// True when the event that a word speaks of, if any, has left the ring.
[[nodiscard]] inline bool event_done(const View& view, std::uint64_t word) noexcept {
  if (layout::EventWord::state(word) != layout::EventWord::kConfirmed) return true;
  return layout::EventWord::Position::get(word) < view.header->ring_head.load_acquire();
}
/// [KS-4] for a record whose successor had no place for its event when it replaced it.
[[nodiscard]] bool successor_done(const View& view, std::uint64_t unit, std::uint64_t next_unit) noexcept;
/// True when every event of the record has left the ring.
[[nodiscard]] inline bool events_done(const View& view, std::uint64_t unit) noexcept {
  using layout::EventWord;
  const Record& record = view.record_at(unit);
  // `ev` may say PENDING in vain: whoever wrote it lost the decision. `rm` is decided by its one CAS.
  const std::uint64_t rm = record.rm.load_acquire();
  if (EventWord::is_follows(rm)) [[unlikely]] {
    if (!successor_done(view, unit, EventWord::Position::get(rm))) return false;
  } else if (EventWord::state(rm) == EventWord::kPending || EventWord::state(rm) == EventWord::kProposed) {
    return false;
  }
  return event_done(view, rm) && event_done(view, record.ev.load_acquire());
}

/// Position behind the last event that the record's words name; 0 when they name none yet. A hint when to
/// look: events_done() decides.
[[nodiscard]] inline std::uint64_t events_end(const View& view, std::uint64_t unit) noexcept {
  using layout::EventWord;
  const Record& record = view.record_at(unit);
  const auto end_of = [](std::uint64_t word) {
    return EventWord::state(word) == EventWord::kConfirmed ? EventWord::Position::get(word) + 1 : 0;
  };
  return std::max(end_of(record.ev.load_relaxed()), end_of(record.rm.load_relaxed()));
}

/// T1, once: exactly one caller wins. The winner's context takes it into its list.
inline void retire(Context& context, std::uint64_t unit) noexcept {
  using layout::RecordState;
  Record& record = context.view->record_at(unit);
  std::uint64_t hdr = record.hdr.load_acquire();
  while (layout::Hdr::state(hdr) == RecordState::clean || layout::Hdr::state(hdr) == RecordState::ev_done) {
    const std::uint64_t retired = layout::Hdr::with(hdr, RecordState::retired);
    const std::uint64_t due = events_end(*context.view, unit);  // before T1: then it is this record's
    if (!record.hdr.cas_acq_rel(hdr, retired)) [[unlikely]] continue;  // T1
    CACHEE_CRASH_POINT("reclaim.retired");
    context.retired.push_back({unit, retired, due});
    return;
  }
}

/// Q1-Q4 over the context's own list. Returns how many blocks became free.
std::uint64_t reclaim_retired(Context& context) noexcept;
/// Leaves what the list still holds to others: hint bits.
void publish_retired(Context& context) noexcept;
/// Before a thread gives its slot back: what it retired, and what it kept for itself, is everybody's.
void give_back(Context& context) noexcept;
void publish_hint(const View& view, std::uint64_t unit) noexcept;

/// Q1-Q4 over the hinted blocks of a page (`all`: over every block). Returns how many became free.
std::uint64_t reclaim_page(Context& context, std::uint64_t page, bool all) noexcept;

}  // namespace cachee::shm
