// fsck: the ring and the records' event words, which must say the same; accounts; the trigger table.
#include "fsck/checker.hpp"
#include "record/record.hpp"
#include "ring/ring.hpp"
#include "triggers/triggers.hpp"

namespace cachee::shm {

using layout::CellWord;
using layout::EventWord;
using layout::Hdr;
using layout::RecordState;

namespace {

bool is_creation(std::uint64_t cell_word) noexcept {
  const auto kind = static_cast<EventKind>(CellWord::Kind::get(cell_word));
  return kind == EventKind::write || kind == EventKind::read;
}

/// Events below it have left the ring, or a release that has begun empties their cells: its supervisor may stand still
/// before the head follows, or be dead.
std::uint64_t released_end(const View& view) noexcept {
  const bool releasing = view.journal->valid.load_acquire() != 0;
  const std::uint64_t end = view.journal->end.load_relaxed();
  const std::uint64_t head = view.header->ring_head.load_acquire();  // behind `valid`: it grows before that ends
  return releasing && end > head && end - head <= view.shape.ring_events ? end : head;
}

}  // namespace

void Checker::check_ring() {
  const std::uint64_t head = view_.header->ring_head.load_acquire();
  const std::uint64_t tail = view_.header->ring_tail.load_acquire();
  const std::uint64_t n = view_.shape.ring_events;
  if (head > tail + 1 || tail > head + n) return find("[RG-1]", &view_.header->ring_head, "head and tail do not fit each other");
  const bool releasing = view_.journal->valid.load_acquire() != 0;  // by a supervisor that runs, or did
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t p = head + i;
    const Cell& cell = view_.cell(p);
    const std::uint64_t word = cell.word.load_acquire();
    if (!CellWord::is_empty(word)) {
      if (p <= tail || !report_.quiescent) {
        check_cell(p, cell, word);
      } else {
        find("[RG-1]", &cell, "cell " + std::to_string(p) + " is filled behind the tail");
      }
      continue;
    }
    if (!report_.quiescent || releasing || view_.header->ring_head.load_acquire() != head) continue;
    if (word != CellWord::empty(p) || p < tail) {
      find("[RG-1]", &cell, "cell " + std::to_string(p) + " is empty for another position");
    } else if (cell.status.load_acquire() != 0 || cell.wall_us.load_acquire() != CellWord::empty(p)) {
      find("[RG-7]", &cell, "cell " + std::to_string(p) + " keeps the status or time of an event that left");
    }
  }
}

void Checker::check_cell(std::uint64_t position, const Cell& cell, std::uint64_t word) {
  ++report_.events;
  const std::string name = "cell " + std::to_string(position);
  const std::uint64_t unit = CellWord::Offset::get(word);
  std::uint64_t block_bytes = 0;
  if (!is_block(unit, block_bytes)) return find("[RG-2]", &cell, name + " names no record");
  const Record& r = *view_.record(unit);
  const std::uint64_t event = (is_creation(word) ? r.ev : r.rm).load_acquire();
  const auto state = Hdr::state(r.hdr.load_acquire());
  // Released meanwhile: the record may have gone with it.
  if (cell.word.load_acquire() != word) return;
  const bool placed = EventWord::state(event) == EventWord::kConfirmed || EventWord::state(event) == EventWord::kProposed;
  if (!placed || EventWord::Position::get(event) != (position & EventWord::Position::kMax)) {
    find("[RG-2]", &cell, name + " and its record disagree");
  }
  if (state == RecordState::free) find("[HP-1]", &cell, "an unreleased event's record is free");
}

/// Of a record that is or was linked, in a moment of quiet.
void Checker::check_event_words(std::uint64_t unit, const Record& r) {
  const std::uint64_t ev = r.ev.load_acquire();
  const std::uint64_t rm = r.rm.load_acquire();
  const std::uint64_t capacity = view_.shape.ring_events;
  for (const std::uint64_t event : {ev, rm}) {
    const std::uint64_t t = EventWord::Position::get(event);
    // A debt that met a full ring may still propose a cell that another won.
    const bool owed = event == ev ? Hdr::state(r.hdr.load_acquire()) == RecordState::ev_pend : marked_.contains(unit);
    if (EventWord::state(event) == EventWord::kProposed && !owed) find("[RG-3]", &r, "an event was left unconfirmed");
    if (EventWord::state(event) != EventWord::kConfirmed || t < head_) continue;
    if (t - head_ >= capacity) {
      find("[RG-2]", &r, "an event's place is beyond the ring");
      continue;
    }
    const std::uint64_t cell = view_.cell(t).word.load_acquire();
    const bool own = !CellWord::is_empty(cell) && CellWord::Offset::get(cell) == unit && is_creation(cell) == (event == ev);
    // The dispatcher releases events meanwhile, and is no client: what has left the ring by now is done.
    if (own || t < released_end(view_)) continue;
    if (event == ev && event != rm) {
      find("[RG-2]", &r, "an event has a place where another stands");
      continue;
    }
    // [KS-4]: the place of the record that replaced this one.
    const Record* const next = CellWord::is_empty(cell) ? nullptr : view_.record(CellWord::Offset::get(cell));
    if (next == nullptr || prev_of(*next) != unit) {
      find("[KS-4]", &r, "a replaced record waits for an event that is not its successor's");
    } else if (EventWord::state(ev) == EventWord::kConfirmed && EventWord::Position::get(ev) >= t) {
      find("[RG-4]", &r, "two events of a key stand in the wrong order");
    }
  }
}

void Checker::check_account() {
  if (!report_.quiescent) return;
  const bool releasing = view_.journal->valid.load_acquire() != 0;
  const std::uint64_t end = view_.journal->end.load_relaxed();
  const std::uint64_t head = view_.header->ring_head.load_acquire();
  if (releasing && ((end > head && end - head > view_.shape.ring_events) ||
                    view_.journal->count.load_relaxed() > layout::kJournalEntriesMax)) {
    find("[RG-5]", view_.journal, "the journal releases more than the ring holds");
  }
  for (std::uint64_t s = 0; !releasing && s < view_.shape.trigger_slots; ++s) {
    const auto& c = view_.counters[s];
    const std::uint64_t sum = c.acknowledged.load_relaxed() + c.moved.load_relaxed() + c.shed.load_relaxed();
    if (c.emitted.load_relaxed() != sum) {
      find("[RG-5]", &c, "the account of trigger slot " + std::to_string(s) + " does not add up");
    }
  }
}

void Checker::check_table() {
  const Word& word = view_.header->trigger_word;
  const std::uint64_t before = word.load_seq_cst();
  const Result<TriggerTable> table = read_table(view_);
  if (word.load_seq_cst() != before) return;  // published meanwhile
  if (!table) {
    if (table.code() == Errc::corrupt) find("[TR-1]", &word, "the trigger table cannot be read");
    return;
  }
  EventMask mask = 0;
  for (const TriggerSpec& t : table->triggers) mask |= t.enabled ? t.events : 0;
  if (layout::TriggerWord::Mask::get(before) != layout::TriggerWord::Mask::get(mask)) {
    find("[TR-1]", &word, "the mask of wanted events is not that of the trigger table");
  }
}

}  // namespace cachee::shm
