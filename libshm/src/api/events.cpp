// EventView, EventReader, Lane: what executors and the dispatcher see of the ring.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include <cachee/maintain.hpp>

#include "api/handle.hpp"
#include "os/wait.hpp"
#include "record/record.hpp"
#include "ring/ring.hpp"
#include "slab/slab.hpp"

namespace cachee {

using layout::CellStatus;
using layout::CellWord;
using layout::EventWord;
using shm::Record;
using shm::View;

namespace {

const Record* record_of(const shm::Handle* handle, std::uint64_t unit) noexcept {
  return handle == nullptr ? nullptr : handle->view().record(unit);
}

// Times of the segment are what another process wrote: sums and differences of them are held within
// some ten thousand years.
constexpr std::int64_t kTimeUsMax = std::int64_t{1} << 58;

std::int64_t clamp_us(std::uint64_t us) noexcept {
  return static_cast<std::int64_t>(std::min(us, static_cast<std::uint64_t>(kTimeUsMax)));
}

std::int64_t wall_of_mono_us(std::uint64_t mono_us) noexcept {
  return base::wall_ns() / base::kNsPerUs + clamp_us(mono_us) - base::now_ns() / base::kNsPerUs;
}

}  // namespace

std::optional<ValueView> EventView::old_value() const noexcept {
  const Record* record = record_of(handle_, record_);
  if (record == nullptr || kind != EventKind::write) return std::nullopt;
  const std::uint64_t prev = shm::prev_of(*record);
  const Record* old = prev == layout::kNoRecord ? nullptr : handle_->view().record(prev);
  if (old == nullptr) return std::nullopt;
  // [KS-4] names this event, or is still to be written: then the old record is not retired yet.
  const std::uint64_t rm = old->rm.load_acquire();
  const bool ours = (EventWord::state(rm) == EventWord::kConfirmed && EventWord::Position::get(rm) == seq.value) ||
                    rm == EventWord::follows(record_);
  if (!ours && EventWord::state(rm) != EventWord::kUnset) return std::nullopt;
  return shm::value_in_place(handle_->view(), prev);
}

Metadata EventView::metadata() const {
  const auto decoded = shm::decode_extension(shm::extension_in_place(handle_->view(), record_));
  return decoded ? decoded->metadata : Metadata{};
}
void EventView::metadata_views(MetadataViews& out) const {
  if (!shm::extension_fields(shm::extension_in_place(handle_->view(), record_), out)) out.clear();
}
std::optional<std::string_view> EventView::metadata_field(std::string_view field) const noexcept {
  return shm::extension_field(shm::extension_in_place(handle_->view(), record_), field);
}
std::vector<std::string> EventView::depends_on() const {
  const auto decoded = shm::decode_extension(shm::extension_in_place(handle_->view(), record_));
  return decoded ? decoded->parents : std::vector<std::string>{};
}
double EventView::cost() const noexcept { return shm::extension_cost(shm::extension_in_place(handle_->view(), record_)); }
std::uint64_t EventView::version() const noexcept { return shm::version_of(*handle_->view().record(record_)); }

std::int64_t EventView::timestamp_wall_us() const noexcept {
  const std::uint64_t stamp = handle_->view().cell(seq.value).wall_us.load_acquire();
  return CellWord::is_empty(stamp) ? base::wall_ns() / base::kNsPerUs : clamp_us(stamp);
}
std::optional<std::int64_t> EventView::deadline_wall_us() const noexcept {
  const auto deadline = layout::Exp::deadline(handle_->view().record(record_)->exp.load_relaxed());
  if (!deadline.is_set()) return std::nullopt;
  return deadline.is_wall() ? clamp_us(deadline.ms() * 1000) : wall_of_mono_us(deadline.ms() * 1000);
}
std::optional<std::int64_t> EventView::ttl_ms() const noexcept {
  const auto deadline = deadline_wall_us();
  if (!deadline) return std::nullopt;
  return std::max<std::int64_t>(0, (*deadline - timestamp_wall_us()) / 1000);
}
std::int64_t EventView::lag_us() const noexcept {
  const auto deadline = deadline_wall_us();
  if (!deadline || kind != EventKind::expire) return 0;
  return std::max<std::int64_t>(0, timestamp_wall_us() - *deadline);
}
std::uint64_t EventView::age_ms() const noexcept {
  const View& view = handle_->view();
  const std::uint64_t born_us = shm::birth_us_of(*view.record(record_)) + view.created_mono_ns / 1000;
  const std::int64_t age_us = timestamp_wall_us() - wall_of_mono_us(born_us);
  return age_us <= 0 ? 0 : static_cast<std::uint64_t>(age_us / 1000);
}
std::uint64_t EventView::hits() const noexcept {
  return CellWord::Frequency::get(handle_->view().cell(seq.value).word.load_relaxed());
}
std::uint64_t EventView::size() const noexcept { return value.size(); }

Provenance EventView::provenance() const noexcept {
  const View& view = handle_->view();
  switch (kind) {
    case EventKind::write: return shm::extension_provenance(shm::extension_in_place(view, record_));
    case EventKind::del:  // set off by whoever deleted
      if (CellWord::Noted::get(view.cell(seq.value).word.load_acquire()) == 0) return {};
      return shm::read_note(view, seq.value, origin_, view.record(record_)->rm);
    default: return {};  // by time, by want of room, by a reader: not by whoever wrote the value
  }
}
Role EventView::origin_role() const noexcept {
  return static_cast<Role>(handle_->view().clients[origin_].role.load_relaxed() & 7);
}
std::int32_t EventView::origin_pid() const noexcept {
  return static_cast<std::int32_t>(handle_->view().clients[origin_].pid.load_relaxed());
}
std::string EventView::origin_client() const {
  char text[layout::kClientNameBytes];
  mem::copy_out(text, handle_->view().clients[origin_].name, sizeof text);
  return std::string{text, strnlen(text, sizeof text)};
}
std::uint32_t EventView::attempts() const noexcept {
  return static_cast<std::uint32_t>(CellStatus::Attempts::get(handle_->view().cell(seq.value).status.load_relaxed()));
}
bool EventView::acknowledged() const noexcept {
  return CellStatus::Acknowledged::get(handle_->view().cell(seq.value).status.load_relaxed()) != 0;
}

EventReader::EventReader(const Cache& cache) noexcept : handle_{cache.handle()} {}
std::uint64_t EventReader::head() const noexcept {
  return handle_->in_forked_child() ? 0 : handle_->view().header->ring_head.load_acquire();
}
std::uint64_t EventReader::tail() const noexcept {
  return handle_->in_forked_child() ? 0 : handle_->view().header->ring_tail.load_acquire();
}

Result<EventView> EventReader::at(EventSeq seq) const noexcept {
  auto event = find(seq);
  if (!event) return event;
  const View& view = handle_->view();
  event->key = shm::key_in_place(view, event->record_);
  event->value = shm::value_in_place(view, event->record_);
  event->key_hash = view.hash(event->key);
  return event;
}

Result<PendingEvent> EventReader::look_at(EventSeq seq) const {
  const auto event = find(seq);
  if (!event) return event.error();
  const View& view = handle_->view();
  const shm::KeyCopy key{view, event->record_};
  PendingEvent seen{event->seq, event->kind, event->cause, std::string{key.view()}, event->version(), event->attempts(),
                    event->acknowledged(), event->timestamp_wall_us()};
  // Released meanwhile, its memory may be another event's.
  mem::fence_acquire();
  if (view.header->ring_head.load_relaxed() > seq.value) return Errc::lapped;
  return seen;
}

Result<EventView> EventReader::find(EventSeq seq) const noexcept {
  if (handle_->in_forked_child()) return Errc::closed;
  const View& view = handle_->view();
  const std::uint64_t word = view.cell(seq.value).word.load_acquire();
  if (CellWord::is_empty(word)) return word == CellWord::empty(seq.value) ? Errc::would_block : Errc::lapped;
  // Filled, but by a later lap? Then the head has passed.
  if (view.header->ring_head.load_acquire() > seq.value) return Errc::lapped;
  EventView event;
  event.record_ = CellWord::Offset::get(word);
  const Record* record = view.record(event.record_);
  if (record == nullptr) return Error{Errc::corrupt, 0, seq.value};
  event.handle_ = handle_.get();
  event.seq = seq;
  event.kind = static_cast<EventKind>(CellWord::Kind::get(word));
  event.origin_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(CellWord::Client::get(word), view.shape.clients_max - 1));
  const bool creation = event.kind == EventKind::write || event.kind == EventKind::read;
  const std::uint64_t ev = (creation ? record->ev : record->rm).load_acquire();
  event.generation = static_cast<std::uint32_t>(EventWord::Generation::get(ev));
  switch (event.kind) {
    case EventKind::write: event.cause = shm::prev_of(*record) == layout::kNoRecord ? Cause::create : Cause::update; break;
    case EventKind::expire: event.cause = Cause::ttl; break;
    case EventKind::evict: event.cause = Cause::capacity; break;
    case EventKind::read: event.cause = Cause::hit; break;
    case EventKind::del: event.cause = static_cast<Cause>(CellWord::CauseField::get(word)); break;
    case EventKind::none:
    case EventKind::gap: return Error{Errc::corrupt, 0, seq.value};
  }
  return event;
}

void EventReader::prefetch(EventSeq seq) const noexcept {
  if (handle_->in_forked_child()) return;
  const View& view = handle_->view();
  constexpr std::uint64_t kCellsAhead = 4;  // the cell must have arrived when the record is asked for
  __builtin_prefetch(&view.cell(seq.value + kCellsAhead));
  const std::uint64_t word = view.cell(seq.value).word.load_relaxed();
  if (CellWord::is_empty(word)) return;
  const auto* const record = reinterpret_cast<const char*>(view.record(CellWord::Offset::get(word)));
  if (record == nullptr) return;
  __builtin_prefetch(record);
  __builtin_prefetch(record + base::kCacheLineBytes);
}

std::uint64_t EventReader::pinned_bytes(EventSeq seq) const noexcept {
  const View& view = handle_->view();
  const std::uint64_t word = view.cell(seq.value).word.load_acquire();
  if (CellWord::is_empty(word)) return 0;
  const std::uint64_t unit = CellWord::Offset::get(word);
  const Record* const record = view.record(unit);
  if (record == nullptr) return 0;
  const bool replaced = static_cast<EventKind>(CellWord::Kind::get(word)) == EventKind::write;
  const std::uint64_t prev = replaced ? shm::prev_of(*record) : layout::kNoRecord;
  const bool has_prev = prev != layout::kNoRecord && view.record(prev) != nullptr;
  return shm::block_bytes_at(view, unit) + (has_prev ? shm::block_bytes_at(view, prev) : 0);
}

std::string EventReader::epoch() const {
  const auto& header = *handle_->view().header;
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(header.epoch[0]),
                static_cast<unsigned long long>(header.epoch[1]));
  return text;
}

const std::string& EventReader::segment_name() const noexcept { return handle_->name(); }

std::string EventReader::event_id(std::uint64_t id) const {
  char text[32];
  const int bytes = std::snprintf(text, sizeof text, "%08llx-%llu",
                                  static_cast<unsigned long long>(handle_->view().header->epoch[0] >> 32),
                                  static_cast<unsigned long long>(id));
  return {text, static_cast<std::size_t>(bytes)};
}

namespace {

layout::LaneWords& words_of(void* words) noexcept { return *static_cast<layout::LaneWords*>(words); }
layout::LanePage& page_of(void* page) noexcept { return *static_cast<layout::LanePage*>(page); }

}  // namespace

Result<Lane> Lane::open(const Cache& cache, std::uint32_t index) noexcept {
  if (index >= layout::kLanes) return Errc::invalid_argument;
  Lane lane;
  lane.handle_ = cache.handle();
  const View& view = lane.handle_->view();
  if (view.writable) {
    lane.shared_ = view.lanes;
  } else {
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(view.lanes) - view.base);
    auto part = os::open_part(cache.name(), offset, sizeof(layout::LanePage));
    if (!part) return part.error();
    const auto owned = std::make_shared<os::Mapping>(std::move(*part));
    lane.shared_ = owned->data();
    lane.mapping_ = owned;
  }
  lane.words_ = &page_of(lane.shared_).lanes[index];
  return lane;
}

bool Lane::try_advance(std::uint64_t from, std::uint64_t to) noexcept { return words_of(words_).claim.cas(from, to); }

void Lane::begin(const Running& running) noexcept {
  auto& w = words_of(words_);
  mem::fence_release();  // the idle mark of end() before the next run's words
  w.running_seq.store_relaxed(running.seq.value);
  w.running_slot.store_relaxed(running.trigger_slot);
  w.running_token.store_relaxed(running.token);
  w.running_since.store_release(static_cast<std::uint64_t>(running.since));
}
void Lane::end() noexcept { words_of(words_).running_since.store_release(0); }

void Lane::wait_for_event(std::uint64_t position, std::chrono::microseconds timeout) noexcept {
  auto& page = page_of(shared_);
  const View& view = handle_->view();
  const std::uint32_t seen = page.wake.load_seq_cst();
  page.asleep.store_seq_cst(1);  // before the look at the cell: see wake_executors()
  if (CellWord::is_empty(view.cell(position).word.load_seq_cst())) os::wait_on(page.wake, seen, timeout);
}

std::uint64_t Lane::position() const noexcept { return words_of(words_).claim.load_acquire() & ~layout::kLaneStop; }
bool Lane::stopped() const noexcept { return (words_of(words_).claim.load_acquire() & layout::kLaneStop) != 0; }
std::uint64_t Lane::stop() noexcept { return words_of(words_).claim.fetch_or(layout::kLaneStop) & ~layout::kLaneStop; }
void Lane::resume(std::uint64_t position) noexcept { words_of(words_).claim.store_release(position); }

Lane::Running Lane::running() const noexcept {
  const auto& w = words_of(words_);
  Running running;
  constexpr int kTriesMax = 16;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    running.since = static_cast<TimeNs>(w.running_since.load_acquire());
    running.seq = EventSeq{w.running_seq.load_relaxed()};
    running.trigger_slot = static_cast<std::uint32_t>(w.running_slot.load_relaxed());
    running.token = w.running_token.load_relaxed();
    mem::fence_acquire();
    if (static_cast<TimeNs>(w.running_since.load_relaxed()) == running.since) return running;
  }
  return {};  // runs begin and end all the time: none of them is stuck
}

void Lane::kick() noexcept {
  auto& page = page_of(shared_);
  page.wake.fetch_add(1);  // whoever is about to sleep on the old value does not
  if (page.asleep.exchange_seq_cst(0) != 0) os::wake_all(page.wake);
}

}  // namespace cachee
