#include "ring/ring.hpp"

#include <algorithm>

#include "base/bounds.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"

namespace cachee::shm {

using layout::CellWord;
using layout::EventWord;

namespace {

constexpr std::uint64_t kFull = ~std::uint64_t{0};
constexpr std::chrono::milliseconds kWaitSliceMs{5};  // a waker may die between its change and its wake
// Each round means that another event got its place, or the head moved; only in a damaged ring does
// neither happen, and then the debt stays where it is.
constexpr int kRoundsMax = base::kAppendRoundsMax;

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
  wall.cas(CellWord::empty(position), static_cast<std::uint64_t>(base::wall_ns() / base::kNsPerUs));
}

}  // namespace

std::uint64_t event_position(std::uint64_t word) noexcept { return EventWord::Position::get(word); }

bool append_event(Context& context, std::uint64_t unit, EventOf which, const CellInfo& info) noexcept {
  const View& view = *context.view;
  Record& record = *view.record(unit);
  Word& word = which == EventOf::creation ? record.ev : record.rm;
  const std::uint64_t filled = CellWord::make(unit, static_cast<std::uint64_t>(info.kind), info.cause, info.client, info.frequency);
  for (int rounds = 0; rounds < kRoundsMax; ++rounds) {
    std::uint64_t w = word.load_acquire();
    const std::uint64_t generation = EventWord::Generation::get(w);
    switch (EventWord::state(w)) {
      case EventWord::kConfirmed: return true;
      case EventWord::kNone: return true;
      case EventWord::kProposed: {
        const std::uint64_t t = EventWord::Position::get(w);
        Cell& cell = view.cell(t);
        const std::uint64_t seen = cell.word.load_acquire();
        if (seen == CellWord::empty(t)) {
          cell.word.cas(seen, filled);  // E2
          CACHEE_CRASH_POINT("ring.append.filled");
        } else if (seen == filled) {
          stamp(view, t);
          const bool confirmed = word.cas(w, EventWord::make(EventWord::kConfirmed, generation, t));  // E3
          CACHEE_CRASH_POINT("ring.append.confirmed");
          view.header->ring_tail.cas(t, t + 1);  // E4
          if (confirmed) {
            context.count(layout::kEvents);
            wake_executors(view);
          }
        } else {
          const std::uint64_t other = find_position(view);
          if (other == kFull) return false;
          word.cas(w, EventWord::make(EventWord::kProposed, generation, other));  // E1'
        }
        break;
      }
      default: {
        const std::uint64_t t = find_position(view);
        if (t == kFull) return false;
        word.cas(w, EventWord::make(EventWord::kProposed, generation, t));  // E1
        CACHEE_CRASH_POINT("ring.append.proposed");
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
    word.cas(w, EventWord::make(EventWord::kConfirmed, EventWord::Generation::get(w), position));
  }
  view.header->ring_tail.cas(position, position + 1);
  return true;
}

void release_cell(const View& view, std::uint64_t position) noexcept {
  Cell& cell = view.cell(position);
  const std::uint64_t next = position + view.shape.ring_events;
  cell.status.store_relaxed(0);
  cell.wall_us.store_relaxed(CellWord::empty(next));
  cell.word.store_release(CellWord::empty(next));  // pairs with findpos' acquire
  CACHEE_CRASH_POINT("ring.release.emptied");
  view.header->ring_head.cas(position, position + 1);
}

void wake_executors(const View& view) noexcept {
  layout::LanePage& lanes = *view.lanes;
  // The CAS of E2/E3 before this load is a full barrier on every target we build for; a sleeper
  // raises `sleepers` and looks at the cell again behind its own fence (Lane::wait_for_event).
  mem::fence_seq_cst();
  if (lanes.sleepers.load_relaxed() == 0) return;
  lanes.wake.fetch_add(1);
  os::wake_all(lanes.wake);
}

}  // namespace cachee::shm
