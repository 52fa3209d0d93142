// The backlog of the ring on disk: BACKLOG PROTOCOL of dispatcher.hpp.
#include <algorithm>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/dispatcher.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kFrameEvents = 2048;                        // of one frame and fsync
constexpr std::uint64_t kFrameBytes = std::uint64_t{8} << 20;
constexpr std::size_t kWindowEvents = 1024;                       // spooled events that are in memory
constexpr std::uint64_t kWindowBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMeasuredPerRound = 8192;
constexpr std::uint64_t kPinnedUnit = 64;
constexpr std::int64_t kDiskPauseMs = 200;
constexpr std::uint64_t kWatermarkShare = 2;   // of the ring's room; the low one is as far below
constexpr std::uint64_t kPinnedShare = 4;      // of the segment's memory
constexpr std::size_t kPrunedPerRound = 512;
constexpr std::int64_t kPruneMs = 1000;
constexpr std::int64_t kPruneBusyMs = 20;

std::uint64_t bytes_of(const EventData& event) noexcept {
  return sizeof event + event.key.size() + event.value.size() + (event.old_value ? event.old_value->size() : 0);
}

}  // namespace

// Start

/// Before the registry: a trigger whose account begins anew owes what the spool has of its name.
Outcome<void> Dispatcher::recover_spool() {
  const auto cursor = store_->spool_cursor();
  if (!cursor) return cursor.failure();
  SpoolOptions options = options_.spool;
  if (options.directory.empty()) options.directory = store_->directory() + "/spool";
  options.sync = store_->durability() == sql::Durability::disk;
  const std::uint64_t head = reader_.head();
  auto opened = Spool::open(options, *cursor, [&](const SpoolRecord& record) {
    const bool of_epoch = record.event.id.starts_with(epoch_);
    if (record.index >= *cursor) {
      count_spooled(record);
      if (!of_epoch) foreign_end_ = record.index + 1;
    }
    if (of_epoch) spool_next_ = std::max(spool_next_, record.seq + 1);
    if (of_epoch && record.seq >= head) recovered_.push_back(record);
  });
  if (!opened) return opened.failure();
  spool_ = std::move(*opened);
  cursor_ = *cursor;
  frame_events_ = kFrameEvents;
  duplicates_before_.spooled = spool_->end();
  const std::uint64_t room = keeper_.ring_room();
  high_events_ = options_.backlog_events_max != 0 ? options_.backlog_events_max : std::max<std::uint64_t>(1, room / kWatermarkShare);
  pinned_units_max_ = (options_.pinned_bytes_max != 0 ? options_.pinned_bytes_max : keeper_.memory_bytes() / kPinnedShare) / kPinnedUnit;
  if (spool_->end() > cursor_) log::info("the spool holds {} events of before", spool_->end() - cursor_);
  return {};
}

/// [DP-4] With a backlog on disk, events of the ring that are older than its youngest one were claimed
/// by an executor and not finished: they go to the store, where they come before it.
Outcome<void> Dispatcher::take_over_claimed() {
  if (spool_->end() == cursor_) return {};
  spooling_ = true;
  spool_next_ = std::max(spool_next_, base_);
  std::vector<std::uint64_t> left;
  for (std::uint64_t p = base_; p < spool_next_ && p - base_ < positions_.size(); ++p) {
    if (!positions_[p - base_].done) left.push_back(p);
  }
  for (const std::uint64_t p : left) {
    const auto event = reader_.at(EventSeq{p});
    Position& position = positions_[p - base_];
    auto batch = store_->begin();
    if (!batch) return batch.failure();
    if (event) {
      EventData data = copy_event(*event, reader_);
      Outcome<void> moved_all;
      registry_->match(*event, [&](const TriggerSpec& spec) {
        if (!moved_all) return;
        MovedRun moved;
        moved.run = RunRef{data.id, p, spec.name, {}};
        moved.trigger_id = spec.id;
        moved.key_hash = event->key_hash;
        moved.for_group = spec.is_group;
        data.duplicate = !spec.is_group;
        moved.state = RunState::held;
        const auto done = batch->move_in(moved, data, wall_ms());
        if (!done) moved_all = done.failure();
        position.add(spec.slot, {.emitted = 1, .moved = 1});
      });
      if (!moved_all) return moved_all;
    }
    if (auto committed = batch->commit(); !committed) return committed;
    position.done = true;
    keeper_.acknowledge(EventSeq{p}, position.moved != 0);
  }
  // Moved by ledger entry before the crash, but still before the cursor: counted once.
  auto batch = store_->begin();
  if (!batch) return batch.failure();
  std::uint64_t seen = 0;
  while (seen < kWindowEvents) {
    auto record = spool_->read();
    if (!record) return record.failure();
    if (!*record) break;
    Spooled spooled = make_spooled(std::move(**record));
    for (std::size_t i = 0; i < spooled.states.size(); ++i) {
      const std::string& trigger = spooled.record.triggers[i];
      const auto moved = batch->was_moved(spooled.record.event.id, trigger);
      if (!moved) return moved.failure();
      if (!*moved) continue;
      spooled.states[i] = Spooled::State::moved;
      --spooled_runs_[trigger];
    }
    push_spooled(std::move(spooled));
    ++seen;
  }
  return batch->commit();
}

// B1, B5

std::uint64_t Dispatcher::first_unclaimed() const {
  std::uint64_t first = ~std::uint64_t{0};
  for (const Worker& worker : workers_) {
    const auto lane = keeper_.lane(worker.lane);
    first = std::min(first, worker.process && lane ? lane->position() : worker.next);
  }
  return std::max(base_, first);
}

void Dispatcher::stop_lanes() {
  std::uint64_t next = ~std::uint64_t{0};
  for (Worker& worker : workers_) {
    auto lane = keeper_.lane(worker.lane);
    if (!lane) return log::error("the lane of executor {}: {}", worker.lane, to_string(lane.error()));
    // A worker that is being started again would begin where the last one had not reported.
    worker.stopped_at = worker.process ? lane->stop() : worker.next;
    next = std::min(next, worker.stopped_at);
  }
  spool_next_ = std::max(base_, next);
  spooling_ = true;
  log::info("{} events wait in the ring, {} MiB pinned: the backlog goes to disk", reader_.tail() - base_,
            pinned_units_ * kPinnedUnit >> 20);
}

void Dispatcher::resume_lanes() {
  for (Worker& worker : workers_) {
    auto lane = keeper_.lane(worker.lane);
    if (!lane) return log::error("the lane of executor {}: {}", worker.lane, to_string(lane.error()));
    if (!worker.process) continue;  // it will begin at worker.next, and skip what was spooled
    lane->resume(std::max(worker.stopped_at, spool_next_));
    worker.process->kick();
  }
  spooling_ = false;
  log::info("the backlog is worked off: events come from the ring again, from {}", spool_next_);
}

// B2, B3

void Dispatcher::measure_backlog() {
  const std::uint64_t tail = reader_.tail();
  for (std::size_t n = 0; n < kMeasuredPerRound && base_ + pinned_.size() < tail; ++n) {
    const std::uint64_t bytes = reader_.pinned_bytes(EventSeq{base_ + pinned_.size()});
    const auto units = static_cast<std::uint32_t>(std::min<std::uint64_t>((bytes + kPinnedUnit - 1) / kPinnedUnit, UINT32_MAX));
    pinned_.push_back(units);
    pinned_units_ += units;
  }
}

bool Dispatcher::tend_backlog() {
  measure_backlog();
  const std::uint64_t tail = std::max(reader_.tail(), base_);
  const WallMs now = wall_ms();
  const bool may_write = now >= spool_pause_until_ms_;
  const bool pinned = pinned_units_ > pinned_units_max_;
  if (!spooling_) {
    if (!may_write || !(pinned || tail - base_ > high_events_)) return false;
    // What an executor has in hand cannot be helped; the disk is for what nobody has claimed.
    const std::uint64_t unclaimed = tail - std::min(tail, first_unclaimed());
    if (unclaimed <= (pinned ? 0 : high_events_ / 2)) return false;
    stop_lanes();
    if (!spooling_) return false;
  }
  bool worked = false;
  const auto waiting = [&] { return tail > spool_next_ ? tail - spool_next_ : 0; };
  if (may_write && waiting() > 0 && (pinned || waiting() > high_events_ / 2)) worked = spool_events();
  if (spool_->end() == cursor_ && (waiting() <= high_events_ / 2 || wall_ms() < spool_pause_until_ms_)) {
    resume_lanes();
    worked = true;
  }
  return worked;
}

/// One frame of the oldest events that nobody has claimed.
bool Dispatcher::spool_events() {
  std::vector<SpoolRecord> records;
  std::vector<TakenRun> taken;  // by the store already
  std::vector<std::uint64_t> without_record;
  std::optional<Batch> ledger;
  std::uint64_t bytes = 0;
  const std::uint64_t first = std::max(spool_next_, base_);
  std::uint64_t next = first;
  for (; next - first < frame_events_ && bytes < kFrameBytes; ++next) {
    const auto event = reader_.at(EventSeq{next});
    if (event.code() == Errc::would_block) break;
    if (event.code() == Errc::lapped) continue;
    const Position* const position = position_of(next);
    if (position == nullptr) break;
    if (position->done) continue;
    if (!event) {
      log::error("event {} cannot be read: the segment is damaged there, run cachee fsck", id_of(EventSeq{next}));
      without_record.push_back(next);
      continue;
    }
    if (worker_of(event->key_hash).stopped_at > next) continue;
    const std::size_t before = records.size();
    if (auto noted = spool_event(*event, records, taken, ledger); !noted) {
      log::error("{}; events wait in the ring", noted.failure().text);
      spool_pause_until_ms_ = wall_ms() + kDiskPauseMs;
      return false;
    }
    if (records.size() == before) {
      without_record.push_back(next);
    } else if (disk_short_ && !records.back().only_shed()) {
      records.pop_back();
      std::erase_if(taken, [&](const TakenRun& run) { return run.seq == next; });
      break;
    } else {
      bytes += bytes_of(records.back().event);
    }
  }
  ledger.reset();
  add_gaps(records);
  if (auto written = spool_->append(records); !written) {
    // The last room of a disk takes smaller frames, and the very last what is shed and needs little.
    if (written.failure().code == Errc::no_space && !disk_short_) {
      disk_short_ = records.size() <= 1;
      frame_events_ = disk_short_ ? kFrameEvents : std::max<std::uint64_t>(1, (next - first) / 2);
      return true;
    }
    disk_short_ = false;
    log::error("{}; events wait in the ring", written.failure().text);
    spool_pause_until_ms_ = wall_ms() + kDiskPauseMs;
    return false;
  }
  tell_of_gaps(records);
  frame_events_ = std::min<std::uint64_t>(kFrameEvents, frame_events_ * 2);
  const bool moved_on = next != spool_next_;
  if (disk_short_ && !moved_on) {
    disk_short_ = false;
    spool_pause_until_ms_ = wall_ms() + kDiskPauseMs;
  }
  spool_next_ = next;
  for (const TakenRun& run : taken) position_of(run.seq)->add(run.trigger_slot, {.emitted = 1, .moved = 1});
  settle_frame(records);
  for (const std::uint64_t p : without_record) {
    Position* const position = position_of(p);
    position->done = true;
    keeper_.acknowledge(EventSeq{p}, position->moved != 0);
  }
  waits_look_ = true;
  return moved_on;
}

/// The record of one event, if it needs one. What a cacheed that is gone moved into the store between D1 and
/// D4 is there and not here: the ledger says so, and each run is in one place only [DP-1].
Outcome<void> Dispatcher::spool_event(const EventView& event, std::vector<SpoolRecord>& records, std::vector<TakenRun>& taken,
                                      std::optional<Batch>& ledger) {
  SpoolRecord record;
  record.seq = event.seq.value;
  record.key_hash = event.key_hash;
  const bool may_be_taken = may_have_run(event.seq);
  if (may_be_taken && !ledger) {
    auto batch = store_->begin();
    if (!batch) return batch.failure();
    ledger.emplace(std::move(*batch));
  }
  Outcome<void> asked;
  registry_->match(event, [&](const TriggerSpec& spec) {
    if (may_be_taken) {
      const auto moved = ledger->was_moved(id_of(event.seq), spec.name);
      if (!moved) asked = moved.failure();
      if (!moved || *moved) {
        taken.push_back({event.seq.value, spec.slot});
        return;
      }
    }
    // What may have run is not shed: its line may be in the log, and its writes not in the cache yet.
    (spec.on_full == OnFull::shed && !may_be_taken ? record.shed : record.triggers).push_back(spec.name);
  });
  if (!asked || (record.triggers.empty() && record.shed.empty())) return asked;
  if (record.triggers.empty()) {
    record.event.id = id_of(event.seq);
  } else {
    record.event = copy_event(event, reader_);
    record.event.duplicate = may_be_taken;
  }
  records.push_back(std::move(record));
  return {};
}

/// [DP-5] The gap event of each trigger that has something shed in this frame, behind its events.
void Dispatcher::add_gaps(std::vector<SpoolRecord>& records) {
  std::map<std::string, std::vector<std::uint64_t>> shed;
  for (const SpoolRecord& record : records) {
    for (const std::string& trigger : record.shed) shed[trigger].push_back(record.seq);
  }
  for (const auto& [trigger, seqs] : shed) {
    std::string ids;
    for (std::size_t i = 0; i < seqs.size();) {
      std::size_t last = i;
      while (last + 1 < seqs.size() && seqs[last + 1] == seqs[last] + 1) ++last;
      if (!ids.empty()) ids += ',';
      ids += id_of(EventSeq{seqs[i]});
      if (last > i) ids += ".." + id_of(EventSeq{seqs[last]});
      i = last + 1;
    }
    SpoolRecord gap;
    gap.seq = seqs.back();
    gap.gap = true;
    gap.triggers.push_back(trigger);
    EventData& event = gap.event;
    event.id = id_of(EventSeq{seqs.back()}) + ".gap";
    event.seq = seqs.back();
    event.kind = EventKind::gap;
    event.cause = Cause::shed;
    event.metadata = {{"count", std::to_string(seqs.size())}, {"first", id_of(EventSeq{seqs.front()})},
                      {"last", id_of(EventSeq{seqs.back()})}, {"ids", std::move(ids)}};
    event.timestamp_wall_us = wall_ms() * 1000;
    event.origin_role = Role::sweep;
    event.origin_instance = reader_.segment_name();
    records.push_back(std::move(gap));
  }
}

/// Behind the frame that has them: what is logged has happened.
void Dispatcher::tell_of_gaps(std::span<const SpoolRecord> records) {
  for (const SpoolRecord& record : records) {
    if (!record.gap) continue;
    const Metadata& told = record.event.metadata;  // count, first, last: add_gaps()
    log::warn("trigger {}: {} events shed, {} to {}", record.triggers.front(), told[0].second, told[1].second, told[2].second);
  }
}

/// What a record of the spool says of a position of the ring.
void Dispatcher::note_spooled(const SpoolRecord& record) {
  Position* const position = position_of(record.seq);
  if (position == nullptr) return;
  for (const std::string& trigger : record.triggers) {
    if (const TriggerSpec* const spec = registry_->find(trigger)) position->add(spec->slot, {.emitted = 1, .moved = 1});
  }
  for (const std::string& trigger : record.shed) {
    if (const TriggerSpec* const spec = registry_->find(trigger)) position->add(spec->slot, {.emitted = 1, .shed = 1});
  }
  position->done = true;
  keeper_.acknowledge(EventSeq{record.seq}, position->moved != 0);  // B3
}

void Dispatcher::settle_frame(std::span<const SpoolRecord> records) {
  for (const SpoolRecord& record : records) {
    count_spooled(record);
    note_spooled(record);
    shed_since_start_ += record.shed.size();
  }
}

void Dispatcher::count_spooled(const SpoolRecord& record) {
  for (const std::string& trigger : record.triggers) ++spooled_runs_[trigger];
  const bool of_epoch = record.event.id.starts_with(epoch_);
  if (of_epoch && record.gap) spool_gap_seqs_.insert(record.seq);
  else if (of_epoch && !record.triggers.empty()) spool_seqs_.push_back(record.seq);
}

// B4

Dispatcher::Spooled Dispatcher::make_spooled(SpoolRecord record) const {
  Spooled spooled;
  record.event.attempt = 1;
  record.event.duplicate = record.event.duplicate || record.index < duplicates_before_.spooled;
  spooled.bytes = bytes_of(record.event);
  spooled.states.assign(record.triggers.size(), Spooled::State::waiting);
  spooled.record = std::move(record);
  return spooled;
}

void Dispatcher::push_spooled(Spooled spooled) {
  spooled_bytes_ += spooled.bytes;
  spooled_.push_back(std::move(spooled));
}

bool Dispatcher::feed_spooled() {
  if (!registry_->is_published()) return false;
  bool fed = false;
  while (spooled_.size() < kWindowEvents && spooled_bytes_ < kWindowBytes) {
    auto record = spool_->read();
    if (!record) {
      log::error("{}", record.failure().text);
      break;
    }
    if (!*record) break;
    push_spooled(make_spooled(std::move(**record)));
    fed = true;
  }
  return send_spooled() || fed;
}

/// Hands out what waits, in the order of each lane; a lane whose inbox is full or whose executor is not there does not
/// hold back the others.
bool Dispatcher::send_spooled() {
  bool sent = false;
  std::vector<bool> full(workers_.size());
  for (std::size_t at = send_at_; at < spooled_.size() && std::find(full.begin(), full.end(), false) != full.end(); ++at) {
    Spooled& spooled = spooled_[at];
    const std::size_t lane = spooled.record.key_hash % workers_.size();
    if (!full[lane]) full[lane] = !send_runs(workers_[lane], spooled, sent);
    if (!full[lane] && at == send_at_) ++send_at_;
  }
  return sent;
}

/// False: some of them wait still.
bool Dispatcher::send_runs(Worker& worker, Spooled& spooled, bool& sent) {
  for (std::size_t i = 0; i < spooled.states.size(); ++i) {
    if (spooled.states[i] != Spooled::State::waiting) continue;
    const TriggerSpec* const spec = registry_->find(spooled.record.triggers[i]);
    if (spec == nullptr) {
      spooled.states[i] = Spooled::State::over;  // its trigger is gone
      continue;
    }
    const std::uint64_t token = kSpoolTokens | spooled.record.index << kSpoolTriggerBits | i;
    if (!worker.process || !worker.process->run_spooled(token, spec->slot, spooled.record.key_hash, spooled.record.event)) return false;
    spooled.states[i] = Spooled::State::running;
    sent = true;
  }
  return true;
}

std::optional<Dispatcher::SpooledRun> Dispatcher::spooled_of(std::uint64_t token) {
  const std::uint64_t index = (token & (kSpoolTokens - 1)) >> kSpoolTriggerBits;
  const std::size_t i = token & ((std::uint64_t{1} << kSpoolTriggerBits) - 1);
  // Indices have gaps only where records were damaged.
  const auto at = std::lower_bound(spooled_.begin(), spooled_.end(), index,
                                   [](const Spooled& s, std::uint64_t wanted) { return s.record.index < wanted; });
  if (at == spooled_.end() || at->record.index != index || i >= at->states.size()) return std::nullopt;
  return SpooledRun{&*at, i};
}

void Dispatcher::advance_cursor() {
  std::map<std::string, std::uint64_t> acknowledged;
  std::size_t count = 0;
  for (; count < spooled_.size(); ++count) {
    const auto& states = spooled_[count].states;
    const bool over = std::all_of(states.begin(), states.end(), [](Spooled::State s) {
      return s == Spooled::State::over || s == Spooled::State::moved;
    });
    if (!over) break;
    for (std::size_t i = 0; i < states.size(); ++i) {
      if (states[i] == Spooled::State::over) ++acknowledged[spooled_[count].record.triggers[i]];
    }
  }
  const std::uint64_t cursor = count < spooled_.size() ? spooled_[count].record.index : spool_->next();
  const WallMs now = wall_ms();
  if (cursor == cursor_ || now < store_pause_until_ms_) return;
  if (auto settled = store_->settle_spool(cursor, acknowledged); !settled) {
    log::error("the store did not take how far the backlog is worked off: {}", settled.failure().text);
    store_pause_until_ms_ = now + kDiskPauseMs;
    return;
  }
  for (const auto& [trigger, n] : acknowledged) spooled_runs_[trigger] -= n;
  for (std::size_t i = 0; i < count; ++i) {
    const SpoolRecord& record = spooled_.front().record;
    if (const auto gap = record.gap ? spool_gap_seqs_.find(record.seq) : spool_gap_seqs_.end(); gap != spool_gap_seqs_.end()) {
      spool_gap_seqs_.erase(gap);
    }
    if (!spool_seqs_.empty() && !record.gap && record.event.id.starts_with(epoch_) && spool_seqs_.front() == record.seq) {
      spool_seqs_.pop_front();
    }
    spooled_bytes_ -= spooled_.front().bytes;
    spooled_.pop_front();
  }
  cursor_ = cursor;
  send_at_ -= std::min(send_at_, count);
  waits_look_ = true;
}

/// What a dead executor had claimed or had in its inbox. [DP-4]: its ring events go to the store, ahead
/// of what was spooled behind them.
void Dispatcher::hand_back_claimed(Worker& worker) {
  for (Spooled& spooled : spooled_) {
    if (&worker_of(spooled.record.key_hash) != &worker) continue;
    for (std::size_t i = 0; i < spooled.states.size(); ++i) {
      const std::uint64_t token = kSpoolTokens | spooled.record.index << kSpoolTriggerBits | i;
      if (spooled.states[i] == Spooled::State::running && !is_spooled_reported(token)) spooled.states[i] = Spooled::State::waiting;
    }
  }
  send_at_ = 0;
  if (!spooling_) return;
  for (std::uint64_t p = std::max(base_, worker.next); p < worker.stopped_at; ++p) {
    Position* const position = position_of(p);
    if (position == nullptr || position->done) continue;
    const auto event = reader_.at(EventSeq{p});
    if (event && &worker_of(event->key_hash) != &worker) continue;
    Run run;
    run.seq = EventSeq{p};
    run.duplicate = may_have_run(run.seq);
    run.status = RunStatus::held;
    run.last = false;
    const std::size_t before = runs_.size();
    if (event) {
      run.key_hash = event->key_hash;
      registry_->match(*event, [&](const TriggerSpec& spec) {
        const bool known = std::any_of(position->deltas.begin(), position->deltas.end(),
                                       [&](const auto& d) { return d.trigger_slot == spec.slot; }) ||
                           std::any_of(runs_.begin(), runs_.end(), [&](const Run& other) {
                             return other.of_ring() && other.seq.value == p && other.trigger_slot == spec.slot;
                           });
        if (known) return;
        run.trigger_slot = spec.slot;
        runs_.push_back(run);
      });
    }
    if (runs_.size() == before) {
      run.status = RunStatus::skipped;
      run.trigger_slot = RunReport::kNoTriggerSlot;
      runs_.push_back(run);
    }
    runs_.back().last = true;
  }
  worker.next = std::max(worker.next, worker.stopped_at);
}

// What others ask

bool Dispatcher::in_spool(EventSeq seq) const { return std::binary_search(spool_seqs_.begin(), spool_seqs_.end(), seq.value); }

std::uint64_t Dispatcher::spooled_of_trigger(std::string_view trigger) const {
  const auto at = spooled_runs_.find(trigger);
  std::uint64_t count = at != spooled_runs_.end() ? at->second : 0;
  // Committed to the store, but kept from being settled by a D1' that it did not take.
  for (const Run& run : runs_) {
    if (run.spool_token != 0 && run.moved && run.step == Step::done && run.spool_trigger == trigger) --count;
  }
  return count;
}

/// Entries of the ledger whose event cannot come again: not from the ring, the spool or the store.
void Dispatcher::prune_ledger(WallMs now) {
  if (now < prune_at_ms_ || cursor_ < foreign_end_) return;
  std::uint64_t from = base_;
  if (!spool_seqs_.empty()) from = std::min(from, spool_seqs_.front());
  if (!spool_gap_seqs_.empty()) from = std::min(from, *spool_gap_seqs_.begin());
  const auto pruned = store_->prune_ledger({now, std::string_view{epoch_}.substr(0, epoch_.size() - 1), from}, kPrunedPerRound);
  const bool more = pruned && *pruned >= kPrunedPerRound;
  prune_at_ms_ = now + (more ? kPruneBusyMs : kPruneMs);
}

}  // namespace cachee::daemon
