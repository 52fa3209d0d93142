#include "ring/ring.hpp"

#include <algorithm>

#include "base/bounds.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"

namespace cachee::shm {

using layout::CellStatus;
using layout::CellWord;
using layout::EventWord;
using layout::NoteWord;
using layout::WaitWord;

namespace {

constexpr std::uint64_t kFull = ~std::uint64_t{0};
constexpr unsigned kWaitProbes = 8;                  // places a question may be in
constexpr std::chrono::milliseconds kWaitSliceMs{5};  // a waker may die between its change and its wake
// Each round means that another event got its place, or the head moved; only in a damaged ring does
// neither happen, and then the debt stays where it is.
constexpr int kRoundsMax = base::kAppendRoundsMax;

std::uint64_t lap_of(const View& view, std::uint64_t position) noexcept {
  return (position / view.shape.ring_events + 1) & NoteWord::Lap::kMax;
}

/// First empty position, helping the tail forward past filled cells.
std::uint64_t find_position(const View& view) noexcept {
  SegmentHeader& header = *view.header;
  for (int rounds = 0; rounds < kRoundsMax; ++rounds) {
    const std::uint64_t h = header.ring_head.load_acquire();  // the older bound first
    const std::uint64_t t = header.ring_tail.load_acquire();
    if (static_cast<std::int64_t>(t - h) >= static_cast<std::int64_t>(view.shape.ring_events)) {
      if (header.ring_head.load_acquire() == h) return kFull;
      continue;
    }
    const std::uint64_t word = view.cell(t).word.load_acquire();
    if (word == CellWord::empty(t)) return t;
    if (!CellWord::is_empty(word)) header.ring_tail.cas(t, t + 1);
    // An empty word of another position: t was stale.
  }
  return kFull;
}

void stamp(const View& view, std::uint64_t position) noexcept {
  Word& wall = view.cell(position).wall_us;
  if (wall.load_relaxed() != CellWord::empty(position)) return;
  wall.cas(CellWord::empty(position), static_cast<std::uint64_t>(base::wall_stamp_ns() / base::kNsPerUs));
}

// Notes

/// What the words of a note say with the lap of a position; false: another lap's.
bool read_stamped(const View& view, std::uint64_t position, std::uint64_t (&note)[layout::kNoteWords]) noexcept {
  const std::uint64_t lap = lap_of(view, position);
  for (unsigned i = 0; i < layout::kNoteWords; ++i) {
    const std::uint64_t w = view.cell(position).note[i].load_acquire();
    if (NoteWord::Lap::get(w) != lap) return false;
    note[i] = NoteWord::Value::get(w);
  }
  return true;
}

/// [RG-9] Copies a removal's note from the client that made it into the cell. `w` is the record's
/// word, PROPOSED for this position; false: it moved on, and the note with it.
bool stamp_note(const View& view, std::uint64_t position, std::uint64_t client, const Word& word, std::uint64_t w) noexcept {
  std::uint64_t seen[layout::kNoteWords];
  std::uint64_t note[layout::kNoteWords];
  for (unsigned i = 0; i < layout::kNoteWords; ++i) {
    seen[i] = view.cell(position).note[i].load_acquire();
    note[i] = view.clients[client].note[i].load_relaxed();
  }
  mem::fence_acquire();  // the note before the word: while it is PROPOSED, its client has not gone on
  if (word.load_relaxed() != w) return false;
  const std::uint64_t lap = lap_of(view, position);
  for (unsigned i = 0; i < layout::kNoteWords; ++i) {
    // Another helper's words are the same; a late one meets the words of a later lap and leaves them.
    if (NoteWord::Lap::get(seen[i]) == lap) continue;
    view.cell(position).note[i].cas(seen[i], NoteWord::Lap::make(lap) | NoteWord::Value::make(note[i]));
    CACHEE_CRASH_POINT("ring.append.noted");
  }
  return true;
}

}  // namespace

std::uint64_t event_position(std::uint64_t word) noexcept { return EventWord::Position::get(word); }

bool append_event(Context& context, std::uint64_t unit, EventOf which, const CellInfo& info) noexcept {
  const View& view = *context.view;
  Record& record = *view.record(unit);
  Word& word = which == EventOf::creation ? record.ev : record.rm;
  const std::uint64_t filled =
      CellWord::make(unit, static_cast<std::uint64_t>(info.kind), info.cause, info.client, info.frequency, info.noted);
  std::uint64_t w = word.load_acquire();
  for (int rounds = 0; rounds < kRoundsMax; ++rounds) {
    const std::uint64_t generation = EventWord::Generation::get(w);
    // E1: what the word says then. Another's change of it is looked at in the next round.
    const auto propose = [&](std::uint64_t t) {
      const std::uint64_t proposed = EventWord::make(EventWord::kProposed, generation, t);
      const bool ours = word.cas(w, proposed);
      CACHEE_CRASH_POINT("ring.append.proposed");
      w = ours ? proposed : word.load_acquire();
    };
    switch (EventWord::state(w)) {
      case EventWord::kConfirmed: return true;
      case EventWord::kNone: return true;
      case EventWord::kProposed: {
        const std::uint64_t t = EventWord::Position::get(w);
        Cell& cell = view.cell(t);
        std::uint64_t seen = CellWord::empty(t);
        if (cell.word.cas_seq_cst(seen, filled)) seen = filled;  // E2
        CACHEE_CRASH_POINT("ring.append.filled");
        if (seen != filled) {
          const std::uint64_t other = find_position(view);
          if (other == kFull) return false;
          propose(other);  // E1'
          break;
        }
        stamp(view, t);
        if (!info.noted || stamp_note(view, t, info.client, word, w)) {  // E2'
          const bool confirmed = word.cas(w, EventWord::make(EventWord::kConfirmed, generation, t));  // E3
          CACHEE_CRASH_POINT("ring.append.confirmed");
          view.header->ring_tail.cas(t, t + 1);  // E4
          if (confirmed) {
            context.count(layout::kEvents);
            wake_executors(view);
            return true;
          }
        }
        w = word.load_acquire();
        break;
      }
      default: {
        const std::uint64_t t = find_position(view);
        if (t == kFull) return false;
        propose(t);  // E1
        break;
      }
    }
  }
  return false;
}

std::uint64_t admission_limit(const View& view, Role role) noexcept {
  const std::uint64_t n = view.shape.ring_events;
  const std::uint64_t clients = view.shape.clients_max;
  // One admitted event and one late debt per client, one more for the tail's lag; what handlers
  // write may use the last share, so that they never wait for room only they can make.
  const std::uint64_t slack = 2 * clients + 1 + (role == Role::client || role == Role::control ? clients : 0);
  return n > slack ? n - slack : 0;
}

bool ring_admits(const View& view, Role role) noexcept {
  const std::uint64_t h = view.header->ring_head.load_acquire();  // the older bound first
  const std::uint64_t t = view.header->ring_tail.load_acquire();
  return static_cast<std::int64_t>(t - h) < static_cast<std::int64_t>(admission_limit(view, role));
}

bool wait_for_space(const View& view, Role role, std::chrono::milliseconds timeout) noexcept {
  if (ring_admits(view, role)) return true;
  const TimeNs until = base::now_ns() + timeout.count() * base::kNsPerMs;
  SegmentHeader& header = *view.header;
  for (;;) {
    const std::uint32_t seen = header.space_wake.load_seq_cst();
    header.space_wanted.store_seq_cst(1);
    if (ring_admits(view, role)) return true;
    const TimeNs left = until - base::now_ns();
    if (left <= 0) return false;
    os::wait_on(header.space_wake, seen, std::min<std::chrono::nanoseconds>(std::chrono::nanoseconds{left}, kWaitSliceMs));
  }
}

bool confirm_cell(const View& view, std::uint64_t position) noexcept {
  Cell& cell = view.cell(position);
  const std::uint64_t seen = cell.word.load_acquire();
  if (CellWord::is_empty(seen)) return false;
  stamp(view, position);
  Record* record = view.record(CellWord::Offset::get(seen));
  if (record == nullptr) return true;
  const auto kind = static_cast<EventKind>(CellWord::Kind::get(seen));
  Word& word = kind == EventKind::write || kind == EventKind::read ? record->ev : record->rm;
  const std::uint64_t w = word.load_acquire();
  if (EventWord::state(w) == EventWord::kProposed && EventWord::Position::get(w) == position) {
    const std::uint64_t client = std::min<std::uint64_t>(CellWord::Client::get(seen), view.shape.clients_max - 1);
    if (CellWord::Noted::get(seen) != 0) stamp_note(view, position, client, word, w);
    word.cas(w, EventWord::make(EventWord::kConfirmed, EventWord::Generation::get(w), position));
  }
  view.header->ring_tail.cas(position, position + 1);
  return true;
}

void release_cell(const View& view, std::uint64_t position) noexcept {
  Cell& cell = view.cell(position);
  const std::uint64_t next = position + view.shape.ring_events;
  if (CellWord::Noted::get(cell.word.load_relaxed()) != 0) {
    for (Word& word : cell.note) word.store_relaxed(0);  // laps come again after 65,536
  }
  cell.status.store_relaxed(0);
  cell.wall_us.store_relaxed(CellWord::empty(next));
  cell.word.store_release(CellWord::empty(next));  // pairs with findpos' acquire
  CACHEE_CRASH_POINT("ring.release.emptied");
  view.header->ring_head.cas(position, position + 1);
}

Provenance read_note(const View& view, std::uint64_t position, std::uint64_t client, const Word& word) noexcept {
  for (int rounds = 0; rounds < kRoundsMax; ++rounds) {
    std::uint64_t note[layout::kNoteWords] = {};
    bool known = read_stamped(view, position, note);
    if (!known) {
      // Not stamped yet: its client is still at it and says it itself.
      const std::uint64_t w = word.load_acquire();
      for (unsigned i = 0; i < layout::kNoteWords; ++i) note[i] = view.clients[client].note[i].load_relaxed();
      mem::fence_acquire();
      known = EventWord::state(w) == EventWord::kProposed && word.load_relaxed() == w;
      if (!known && EventWord::state(w) != EventWord::kProposed && EventWord::state(w) != EventWord::kConfirmed) break;
    }
    if (known) {
      return {note[layout::kNoteParent], note[layout::kNoteChain], static_cast<std::uint32_t>(note[layout::kNoteDepth])};
    }
    if (view.header->ring_head.load_acquire() > position) break;  // released meanwhile
  }
  return {};
}

// Waiting for acknowledgement

namespace {

/// W1: puts the question where there is room. True when the answer is there already.
bool ask(SegmentHeader& header, std::uint64_t position) noexcept {
  const std::uint64_t question = WaitWord::make(WaitWord::kAsked, position);
  const std::uint64_t answer = WaitWord::make(WaitWord::kAcknowledged, position);
  const auto slot_of = [&](std::uint64_t i) -> Word& { return header.wait_slots[(position + i) % layout::kWaitSlots]; };
  Word* room = nullptr;
  for (unsigned i = 0; i < kWaitProbes; ++i) {
    const std::uint64_t word = slot_of(i).load_acquire();
    if (word == answer) return true;
    if (word == question) return false;
    if (room == nullptr && WaitWord::state(word) != WaitWord::kAsked) room = &slot_of(i);
  }
  // All taken, perhaps by WAITs that are gone: each time another one makes room.
  if (room == nullptr) room = &slot_of(static_cast<std::uint64_t>(base::now_ns()) / kWaitProbes % kWaitProbes);
  room->store_seq_cst(question);
  return false;
}

}  // namespace

bool wait_acknowledged(const View& view, EventSeq event, std::chrono::milliseconds timeout) noexcept {
  SegmentHeader& header = *view.header;
  const TimeNs until = base::now_ns() + timeout.count() * base::kNsPerMs;
  for (;;) {
    const std::uint32_t seen = header.ack_wake.load_seq_cst();
    // The status belongs to this event only while the head has not passed it: head again behind.
    const std::uint64_t status = view.cell(event.value).status.load_acquire();
    const bool in_ring = header.ring_head.load_acquire() <= event.value;
    if (in_ring && CellStatus::Acknowledged::get(status) != 0 && CellStatus::Moved::get(status) == 0) return true;
    if (view.writable) {
      if (ask(header, event.value)) return true;
      header.wait_asked.store_seq_cst(1);
      header.ack_wanted.store_seq_cst(1);
      const std::uint64_t again = view.cell(event.value).status.load_seq_cst();  // against acknowledge()
      if (again != status) continue;
    }
    const TimeNs left = until - base::now_ns();
    if (left <= 0) return false;
    os::wait_on(header.ack_wake, seen, std::min<std::chrono::nanoseconds>(std::chrono::nanoseconds{left}, kWaitSliceMs));
  }
}

bool answer_waits(const View& view, const std::function<bool(EventSeq)>& is_over) {
  SegmentHeader& header = *view.header;
  bool open = false;
  bool answered = false;
  for (Word& slot : header.wait_slots) {
    std::uint64_t word = slot.load_acquire();
    if (WaitWord::state(word) != WaitWord::kAsked) continue;
    const std::uint64_t position = WaitWord::Position::get(word);
    if (!is_over(EventSeq{position})) {
      open = true;
      continue;
    }
    slot.cas(word, WaitWord::make(WaitWord::kAcknowledged, position));  // W2
    answered = true;
  }
  if (answered) {
    header.ack_wake.fetch_add(1);
    os::wake_all(header.ack_wake);
  }
  return open;
}

void wake_executors(const View& view) noexcept {
  layout::LanePage& lanes = *view.lanes;
  // E2, or the look that found it done, is before this load; a sleeper raises `asleep` before it looks
  // at the cell (Lane::wait_for_event). All are seq_cst, so one of the two sees the other.
  if (lanes.asleep.load_seq_cst() == 0) return;
  // Whoever takes the flag wakes: until the sleeper runs, others need not call the kernel for it again.
  if (lanes.asleep.exchange_seq_cst(0) == 0) return;
  lanes.wake.fetch_add(1);
  os::wake_all(lanes.wake);
}

}  // namespace cachee::shm
