// Events and their acknowledgement.
//
// RING PROTOCOL
//
// A cell is EMPTY(p) or holds {record, kind, cause, client}: it is claimed and filled by one CAS, so
// there is no reserved cell whose owner could die or stop. The record's own word (ev for its
// creation, rm for its removal) makes the append idempotent:
//
//   UNSET --E0: somebody decided--> PENDING(g) --E1: cas--> PROPOSED(g, t) --E3: cas--> CONFIRMED(g, t)
//                                        ^---------E1': t was taken by another---|
//   E2: cas cell[t] EMPTY(t) -> {record}     E4: cas tail t -> t+1
//   E2' (removals that a handler made): cas the note of cell[t] from the client that marked the slot
//
//   release  K1 journal: counters as they will be, end     K2 counters     K3 for each position:
//            wall_us, status, cell := EMPTY(p + N); cas head p -> p+1      K4 journal off
//            An event of more triggers than the journal has entries is counted ahead, some triggers at a time: K1 with
//            end = head and the slot below which all are counted, K2, K3' that slot into the head's status, K4.
//   wait     W1 ask: a slot near p mod S := ASKED(p), raise wait_asked      W2 the supervisor, when every
//            run of p is over, in the ring or on disk: cas ASKED(p) -> ACKNOWLEDGED(p), wake. A slot has no
//            owner: where all are taken one is written over, and whoever asked there asks again.
//
// Invariants
//   [RG-1] head <= tail <= head + N (tail may lag one filled cell); cells [head, tail) are filled.
//   [RG-2] A record is in cell t exactly when its word is PROPOSED|CONFIRMED t and cell t was won: the
//          word leaves t only after cell t was seen taken by another record or recycled.
//   [RG-3] A cell is recycled only after its record's word is CONFIRMED.
//   [RG-4] Positions of one key's events have the order of the effects: a record is replaced or
//          marked only after its own creation event is CONFIRMED (keyspace.hpp, "pay first").
//   [RG-5] A trigger's counters and the head move together as far as a crash can tell (journal with
//          absolute values: redoing is harmless). Ahead of it are at most the counters of slots below CountedBelow of
//          the head's status, by that one event.
//   [RG-6] Admission leaves room for what every client may owe: append does not meet a full ring but
//          by debts settled under later registrations, which then stay in the slot.
//   [RG-7] A cell that is empty for position p has status 0 and the time EMPTY(p): a release leaves
//          nothing of the event before.
//   [RG-8] A WAIT returns only when every run of its event is over: the cell says acknowledged and not
//          moved, or the supervisor said so. ACKNOWLEDGED(p) is final; positions do not come again.
//   [RG-9] The note of a removal is the same for all who copy it: its client changes its note only
//          behind its own append, so a note that was read while the word was PROPOSED is whole. Its
//          words carry the lap: whoever copies late changes nothing of another event.
//
// Orders
//   E2 acq_rel publishes nothing of the record (the slot CAS did); the consumer's acquire of the
//   cell sees the record through the appender, which acquired it from the slot.
//   head is read before tail in admission and findpos: tail - head is never negative by more than
//   the lag, and compared signed.
//   K3's release of the cell comes after all reads of the handler; pairs with findpos' acquire.
//
// Killed between     what is left                     who repairs
//   E0..E4           a word PENDING/PROPOSED          whoever touches the record next; the reaper
//   E2 and E4        tail behind a filled cell        the next appender, the consumer
//   K1 and K4        a valid journal                  the next supervisor redoes K2-K4
//   W1 and W2        a question nobody waits for      answered all the same; asked over by the next
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include <cachee/options.hpp>
#include <cachee/types.hpp>

#include "clients/clients.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

enum class EventOf : std::uint8_t { creation, removal };

/// What a cell says beside the record.
struct CellInfo {
  EventKind kind = EventKind::none;
  std::uint64_t cause = 0;
  std::uint64_t client = 0;
  std::uint64_t frequency = 0;
  bool noted = false;  // `client` has a note for it [RG-9]
};

/// E1-E4, by anybody who protects the record. False: the ring is full and the debt stays.
bool append_event(Context& context, std::uint64_t unit, EventOf which, const CellInfo& info) noexcept;

/// Events that may still be admitted now.
[[nodiscard]] bool ring_admits(const View& view, Role role) noexcept;
[[nodiscard]] std::uint64_t admission_limit(const View& view, Role role) noexcept;
/// Waits until ring_admits or the timeout; G6's bounded waiting.
[[nodiscard]] bool wait_for_space(const View& view, Role role, std::chrono::milliseconds timeout) noexcept;

/// Confirms the cell at `position` for its appender, who may have stopped behind E2. The consumer
/// does it before it releases [RG-3]. False: the cell is empty.
bool confirm_cell(const View& view, std::uint64_t position) noexcept;
/// K3 for one position.
void release_cell(const View& view, std::uint64_t position) noexcept;

/// The note of the noted event at `position`, whose record's removal word is `word`.
[[nodiscard]] Provenance read_note(const View& view, std::uint64_t position, std::uint64_t client, const Word& word) noexcept;

/// [RG-8] False: not within the time, or nobody could tell (no supervisor; a read-only handle cannot
/// ask about what has left the ring).
[[nodiscard]] bool wait_acknowledged(const View& view, EventSeq event, std::chrono::milliseconds timeout) noexcept;
/// W2 for every question. True when some stay open.
bool answer_waits(const View& view, const std::function<bool(EventSeq)>& is_over);

/// Position of a confirmed event word.
[[nodiscard]] std::uint64_t event_position(std::uint64_t word) noexcept;

/// Wakes executors that sleep on the ring.
void wake_executors(const View& view) noexcept;

}  // namespace cachee::shm
