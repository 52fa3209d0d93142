#include "events/dispatcher.hpp"

#include <algorithm>
#include <span>

#include <cachee/inspect.hpp>
#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/appliers.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kReleasePositionsMax = 4096;
constexpr std::size_t kStoredPerRound = 64;
constexpr std::int64_t kStoreLookMs = 1000;     // at least so often
constexpr std::int64_t kPausedLookMs = 50;
constexpr int kSpinRounds = 64;
constexpr std::chrono::microseconds kIdleWait{2000};
// With one executor, whose reports end the wait, and behind so many rounds without work: fewer wakes of an idle core.
constexpr std::chrono::microseconds kLongIdleWait{10'000};
constexpr int kLongIdleRounds = 250;

void add_metric(TriggerFigures& figures, const Effect& effect, const TriggerSpec* spec) {
  auto at = figures.metrics.find(effect.key);
  if (at == figures.metrics.end()) {
    if (figures.metrics.size() >= kTriggerMetricsMax) {
      return log::warn("trigger {}: cachee.metric(\"{}\") is not counted, there are {} others", spec != nullptr ? spec->name : "(removed)",
                       effect.key, kTriggerMetricsMax);
    }
    at = figures.metrics.emplace(effect.key, 0).first;
  }
  at->second += effect.amount;
}

}  // namespace

Dispatcher::Dispatcher(Maintainer& keeper, DispatcherOptions options)
    : keeper_{keeper}, options_{std::move(options)}, reader_{keeper.reader()}, epoch_{reader_.epoch().substr(0, 8) + "-"} {}

Dispatcher::~Dispatcher() { stop(std::chrono::milliseconds{0}); }

Outcome<std::unique_ptr<Dispatcher>> Dispatcher::make(Maintainer& keeper, DispatcherOptions options) {
  std::unique_ptr<Dispatcher> made{new Dispatcher{keeper, std::move(options)}};
  auto store = Store::open(made->options_.store);
  if (!store) return store.failure();
  made->store_ = std::move(*store);
  auto writer = LogWriter::open(*made->store_, made->options_.log);
  if (!writer) return writer.failure();
  made->log_ = std::move(*writer);
  auto last_run = made->store_->last_run_id();
  if (!last_run) return last_run.failure();
  made->duplicates_before_.stored = *last_run;
  auto cache = keeper.client(Role::trigger, "dispatcher");
  if (!cache) return Failure{cache.error().code, "the dispatcher's handle: " + to_string(cache.error())};
  made->cache_.emplace(std::move(*cache));
  const auto segment = segment_info(*made->cache_);
  if (!segment) return Failure{segment.error().code, "the segment's bounds: " + to_string(segment.error())};
  made->value_bytes_max_ = segment->value_bytes_max;
  if (auto recovered = made->recover_spool(); !recovered) return recovered.failure();
  made->registry_ = std::make_unique<Registry>(
      keeper, *made->store_, [made = made.get()](std::string_view trigger) { return made->spooled_of_trigger(trigger); },
      [made = made.get()](std::uint32_t slot, std::string_view trigger) { return made->has_in_hand(slot, trigger); });
  if (auto loaded = made->registry_->load(); !loaded) return loaded.failure();
  if (auto recovered = made->recover_ring(); !recovered) return recovered.failure();
  Groups::Host host;
  host.post = [made = made.get()](std::function<void()> task) { made->post(std::move(task)); };
  host.report = [made = made.get()](GroupResult result) { made->take_group_result(std::move(result)); };
  host.duplicates_before = made->duplicates_before_.stored;
  made->groups_ = std::make_unique<Groups>(*made->registry_, *made->store_, std::move(host));
  return made;
}

/// Positions that were acknowledged but not released: what their runs came to is in the store.
Outcome<void> Dispatcher::recover_ring() {
  base_ = reader_.head();
  for (const SpoolRecord& record : recovered_) note_spooled(record);
  recovered_ = {};
  auto batch = store_->begin();
  if (!batch) return batch.failure();
  for (std::uint64_t p = base_;; ++p) {
    const auto event = reader_.at(EventSeq{p});
    if (!event) break;
    Position& position = *position_of(p);
    if (position.done) continue;  // the spool has it
    position.done = event->acknowledged();
    if (position.done) {
      Outcome<void> asked;
      registry_->match(*event, [&](const TriggerSpec& spec) {
        const auto moved = batch->was_moved(id_of(EventSeq{p}), spec.name);
        if (!moved) {
          asked = moved.failure();
          return;
        }
        if (*moved) {
          position.add(spec.slot, {.emitted = 1, .moved = 1});
        } else {
          position.add(spec.slot, {.emitted = 1, .acknowledged = 1});
        }
      });
      if (!asked) return asked;
    }
  }
  if (!positions_.empty()) positions_.front().deltas.drop_below(keeper_.counted_ahead());
  return {};
}

Outcome<void> Dispatcher::start() {
  std::uint64_t first = base_;
  for (const Position& position : positions_) {
    if (!position.done) break;
    ++first;
  }
  for (std::uint32_t i = 0; i < kExecutorsMax; ++i) {
    auto lane = keeper_.lane(i);
    if (!lane) return Failure{lane.error().code, "the lane of an executor: " + to_string(lane.error())};
    duplicates_before_.ring = std::max(duplicates_before_.ring, lane->position());
    const Lane::Running running = lane->running();
    if (running.since != 0 && running.token == 0 && position_of(running.seq.value) != nullptr && running.seq.value < base_ + positions_.size()) {
      keeper_.count_attempt(running.seq);
    }
    lane->end();
  }
  // Executors begin where the last ones had not reported, and their lanes say so: killed again before they have
  // come as far as those, the lanes alone would make less of it [DP-6].
  const auto claimed_before = store_->ring_claimed(epoch_);
  if (!claimed_before) return claimed_before.failure();
  duplicates_before_.ring = std::max(duplicates_before_.ring, *claimed_before);
  if (auto kept = store_->set_ring_claimed(epoch_, duplicates_before_.ring); !kept) return kept;
  if (auto taken = take_over_claimed(); !taken) return taken;
  if (spooling_) first = spool_next_;
  for (std::uint32_t i = 0; i < options_.executors; ++i) {
    Worker worker;
    worker.lane = i;
    worker.next = first;
    worker.stopped_at = first;
    workers_.push_back(std::move(worker));
  }
  for (Worker& worker : workers_) {
    if (auto started = start_worker(worker, first); !started) return started;
  }
  watching_ = true;
  watch_thread_ = std::thread{[this] { watch(); }};
  thread_ = std::thread{[this] { loop(); }};
  return {};
}

void Dispatcher::stop(std::chrono::milliseconds patience) {
  if (!thread_.joinable()) return;
  const auto until = std::chrono::steady_clock::now() + patience;
  stopping_.store(true);
  while (!drained_.load() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds{2});
  drained_.store(true);
  thread_.join();
  {
    const std::lock_guard lock{watch_mutex_};
    watching_ = false;
    watch_over_.notify_all();
  }
  watch_thread_.join();
  for (Worker& worker : workers_) worker.process.reset();
  asides_.clear();
  // Whoever still waits for an answer learns that there will be none.
  tests_.clear();
  changes_.clear();
  std::deque<std::function<void()>> unheard;
  const std::lock_guard lock{tasks_mutex_};
  stopped_ = true;
  unheard.swap(tasks_);
}

void Dispatcher::loop() {
  for (;;) {
    registry_->catch_up();
    make_changes();
    bool worked = run_tasks();  // directly before the reports: what was asked for before an event is done before its run is seen
    worked = collect() || worked;
    carry_out();
    backed_up_ = !runs_.empty();
    answer_waits();
    release();
    unblock_pairs();
    worked = tend_backlog() || worked;
    worked = feed_spooled() || worked;
    advance_cursor();
    worked = feed_stored() || worked;
    prune_ledger(wall_ms());
    worked = look_after_workers() || worked;
    worked = groups_->tend(wall_ms()) || worked;
    if (stopping_.load()) {
      if (drained_.load()) return refuse_changes();
      if (!worked && runs_.empty() && running_.empty() && reader_.head() == reader_.tail()) drained_.store(true);
    }
    idle(worked || !runs_.empty());
  }
}

void Dispatcher::post(std::function<void()> task) {
  std::lock_guard lock{tasks_mutex_};
  if (stopped_) return;
  tasks_.push_back(std::move(task));
  if (idle_at_ != nullptr) idle_at_->wake();
}

bool Dispatcher::run_tasks() {
  std::deque<std::function<void()>> tasks;
  {
    std::lock_guard lock{tasks_mutex_};
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task();
  return !tasks.empty();
}

bool Dispatcher::collect() {
  if (backed_up_) return false;  // no more in hand than one round
  int reports = 0;
  for (Worker& worker : workers_) {
    if (!worker.process) continue;
    reports += worker.process->poll(kReportsPerRound, [&](const RunReport& report) { take_report(worker, report); });
  }
  return reports + collect_aside() > 0;
}

/// Runs that are to be carried out, and those of the store and the spool that executors have.
bool Dispatcher::has_in_hand(std::uint32_t slot, std::string_view trigger) const {
  if (std::any_of(runs_.begin(), runs_.end(), [&](const Run& run) { return run.trigger_slot == slot; })) return true;
  if (std::any_of(in_hand_.begin(), in_hand_.end(), [&](const auto& entry) { return entry.second.trigger == trigger; })) return true;
  return std::any_of(spooled_.begin(), spooled_.end(), [&](const Spooled& spooled) {
    for (std::size_t i = 0; i < spooled.states.size(); ++i) {
      if (spooled.states[i] == Spooled::State::running && spooled.record.triggers[i] == trigger) return true;
    }
    return false;
  });
}

Dispatcher::Position* Dispatcher::position_of(std::uint64_t seq) {
  if (seq < base_ || seq - base_ > std::uint64_t{kRingEventsMax}) return nullptr;
  while (seq - base_ >= positions_.size()) positions_.emplace_back();
  return &positions_[seq - base_];
}

void Dispatcher::take_report(Worker& worker, const RunReport& report) {
  ++worker.reports;
  if (report.token >= kTestTokens) return answer_test(report);
  if (settle_at_once(worker, report)) return;
  const std::pair pair{report.key_hash, report.trigger_slot};
  const bool of_stored = report.token != 0 && report.token < kSpoolTokens;
  if (!of_stored && (report.status == RunStatus::failed || report.status == RunStatus::held)) worker.held[pair] = worker.reports;
  Run run;
  run.seq = report.seq;
  run.key_hash = report.key_hash;
  run.trigger_slot = report.trigger_slot;
  run.status = report.status;
  run.last = report.last;
  run.duplicate = report.duplicate;
  run.attempt = report.attempt;
  run.error = report.error;
  run.traceback = report.traceback;
  Provenance of_event;
  TraceStep step;
  if (report.token >= kSpoolTokens) {
    const auto spooled = spooled_of(report.token);
    if (!spooled || spooled->state() != Spooled::State::running) return;
    run.spool_token = report.token;
    run.spool_trigger = spooled->name();
    run.key_hash = spooled->spooled->record.key_hash;
    run.seq = EventSeq{spooled->spooled->record.seq};
    run.duplicate = spooled->spooled->record.event.duplicate;
    of_event = spooled->spooled->record.event.provenance;
    step = {run.seq.value + 1, of_event, spooled->spooled->record.event.kind, spooled->spooled->record.event.key};
  } else if (report.token != 0) {
    run.stored_id = static_cast<std::int64_t>(report.token);
    const auto at = in_hand_.find(run.stored_id);
    if (at == in_hand_.end() || report.status == RunStatus::held) return;
    of_event = at->second.event->provenance;
    step = {at->second.seq + 1, of_event, at->second.event->kind, at->second.event->key};
    run.seq = EventSeq{at->second.seq};
    run.attempt = at->second.attempts + 1;
  } else {
    const Position* const position = position_of(report.seq.value);
    if (position == nullptr || position->done) return;  // handled before a restart
    worker.next = std::max(worker.next, report.seq.value + (report.last ? 1 : 0));
    if (!report.effects.empty()) {
      if (const auto event = reader_.at(report.seq)) {
        of_event = event->provenance();
        step = {report.seq.value + 1, of_event, event->kind, std::string{event->key}};
      }
    }
  }
  if (run.status == RunStatus::ok && !report.effects.empty()) {
    auto effects = decode_effects(report.effects);
    if (effects) {
      run.effects = std::move(*effects);
      run.from = next_provenance(of_event, run.seq.value + 1);
      const bool writes = std::any_of(run.effects.begin(), run.effects.end(), is_cache_effect);
      if (writes || of_event.depth > 0) run.trace = std::move(step);
    } else {
      refuse(run, "the executor reported effects that cannot be read", false);
    }
  }
  if (TriggerFigures& figures = figures_[run.trigger_slot]; run.trigger_slot != RunReport::kNoTriggerSlot) {
    note_run(figures, report);
    const bool ran = run.status == RunStatus::ok || run.status == RunStatus::failed;
    if (ran && slow_log_.wants(report.run_ns)) keep_slow_run(report, run, step);
  }
  runs_.push_back(std::move(run));
}

/// G3 of groups.hpp: from here on it is like a run that an executor reported.
void Dispatcher::take_group_result(GroupResult result) {
  const TriggerSpec* const spec = registry_->find(result.group);
  Run run;
  run.stored_id = result.stored_id;
  run.of_group = true;
  run.seq = EventSeq{result.seq};
  run.key_hash = result.key_hash;
  run.trigger_slot = spec != nullptr && spec->is_group ? spec->slot : RunReport::kNoTriggerSlot;
  run.status = run.trigger_slot == RunReport::kNoTriggerSlot ? RunStatus::skipped : result.ok ? RunStatus::ok : RunStatus::failed;
  run.attempt = result.attempt;
  run.error = std::move(result.error);
  run.delay_ms = result.delay_ms;
  run.duplicate = result.duplicate;
  run.free_of_charge = result.free_of_charge;
  runs_.push_back(std::move(run));
}

/// Tells WAITs what is over, before the release takes it out of their sight.
void Dispatcher::answer_waits() {
  const bool asked = keeper_.waits_asked();
  if (!asked && !(waits_open_ && waits_look_)) return;
  waits_look_ = false;
  waits_open_ = keeper_.answer_waits([this](EventSeq seq) { return is_over(seq); });
}

/// True when every run that the event was owed to is over: [RG-8].
bool Dispatcher::is_over(EventSeq seq) {
  if (seq.value >= base_) {
    if (seq.value - base_ >= positions_.size()) return false;
    const Position& position = positions_[seq.value - base_];
    if (!position.done) return false;
    if (position.moved == 0) return true;
  }
  if (in_spool(seq)) return false;
  const auto left = store_->count_event(id_of(seq));
  return left && *left == 0;
}

/// `step` says which event it was, except for one of the ring that had no effects.
void Dispatcher::keep_slow_run(const RunReport& report, const Run& run, const TraceStep& step) {
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  SlowRun slow;
  slow.wall_ms = wall_ms();
  slow.run_ns = report.run_ns;
  slow.steps = report.steps;
  slow.trigger = spec != nullptr ? spec->name : "(removed)";
  slow.event_id = id_of(run.seq);
  EventKind kind = step.kind;
  slow.key = step.key;
  if (kind == EventKind::none) {
    if (const auto event = reader_.at(run.seq)) {
      kind = event->kind;
      slow.key = std::string{event->key};
    }
  }
  slow.event = to_string(kind);
  slow_log_.add(std::move(slow));
}

void Dispatcher::keep_trace(Run& run, const TriggerSpec* spec) {
  run.trace->trigger = spec != nullptr ? spec->name : "(removed)";
  run.trace->wall_ms = wall_ms();
  trace_.push_back(std::move(*run.trace));
  if (trace_.size() > kTraceStepsMax) trace_.pop_front();
}

void Dispatcher::count_run(const Run& run, const TriggerSpec* spec) {
  TriggerFigures& figures = figures_[run.trigger_slot];
  switch (run.status) {
    case RunStatus::ok:
      ++figures.ok;
      for (const Effect& effect : run.effects) {
        if (effect.kind == EffectKind::metric) add_metric(figures, effect, spec);
      }
      break;
    case RunStatus::held: ++figures.held; break;
    case RunStatus::skipped:
    case RunStatus::handed: break;
    case RunStatus::failed: {
      const bool dead = is_given_up(run, spec);
      ++figures.failed;
      ++(dead ? figures.dead : figures.retried);
      figures.last_error = run.error;
      if (run.of_group) break;  // the group says what its consumers did
      log::warn("trigger {}: event {} failed, attempt {}{}: {}", spec != nullptr ? spec->name : "(removed)", id_of(run.seq),
                run.attempt, dead ? ", dead letter" : "", run.error);
      break;
    }
  }
}

/// Of the head's event: what one release cannot count with the rest, in the order of slots.
void Dispatcher::count_ahead(Position& position) {
  constexpr std::size_t kAtOnce = Maintainer::kReleaseDeltasMax;
  if (position.deltas.size() <= kAtOnce) return;
  std::vector<Maintainer::Delta> deltas{position.deltas.begin(), position.deltas.end()};
  std::sort(deltas.begin(), deltas.end(), [](const auto& left, const auto& right) { return left.trigger_slot < right.trigger_slot; });
  std::span<const Maintainer::Delta> left{deltas};
  for (; left.size() > kAtOnce; left = left.subspan(kAtOnce)) {
    keeper_.count_ahead(left[kAtOnce].trigger_slot, left.first(kAtOnce));
  }
  position.deltas.drop_below(left.front().trigger_slot);
}

void Dispatcher::release() {
  while (!positions_.empty() && positions_.front().done) {
    count_ahead(positions_.front());
    std::map<std::uint32_t, Counters> sums;
    auto last = sums.end();  // most positions are of the same trigger as the one before
    std::size_t count = 0;
    while (count < positions_.size() && count < kReleasePositionsMax && positions_[count].done &&
           sums.size() + positions_[count].deltas.size() <= Maintainer::kReleaseDeltasMax) {
      for (const auto& delta : positions_[count].deltas) {
        if (last == sums.end() || last->first != delta.trigger_slot) last = sums.try_emplace(delta.trigger_slot).first;
        Counters& sum = last->second;
        sum.emitted += delta.add.emitted;
        sum.acknowledged += delta.add.acknowledged;
        sum.moved += delta.add.moved;
        sum.shed += delta.add.shed;
      }
      ++count;
    }
    std::vector<Maintainer::Delta> deltas;
    for (const auto& [slot, sum] : sums) deltas.push_back({slot, sum});
    keeper_.release_through(base_ + count, deltas);
    base_ += count;
    for (std::size_t i = 0; i < count && !pinned_.empty(); ++i) {
      pinned_units_ -= pinned_.front();
      pinned_.pop_front();
    }
    positions_.erase(positions_.begin(), positions_.begin() + static_cast<std::ptrdiff_t>(count));
  }
  spool_->forget(cursor_, epoch_, base_);
}

/// [DP-2] An executor may run a pair's ring events again when the store has none of its runs left. What waits for the
/// store in runs_ may be such a run.
void Dispatcher::unblock_pairs() {
  if (!runs_.empty()) return;
  for (auto at = unblock_due_.begin(); at != unblock_due_.end();) {
    const auto [key_hash, slot] = *at;
    const TriggerSpec* const spec = registry_->find_slot(slot);
    Worker& worker = worker_of(key_hash);
    const auto held = worker.held.find(*at);
    const bool blocked = worker.process && held != worker.held.end();
    if (spec == nullptr || (!blocked && !refused_.contains(*at))) {
      refused_.erase(*at);
      at = unblock_due_.erase(at);
      continue;
    }
    const auto left = store_->count_lane(spec->name, key_hash);
    if (!left || (*left == 0 && blocked && !worker.process->unblock(key_hash, slot, held->second))) {
      ++at;  // the store or the inbox is busy: next round
      continue;
    }
    if (*left == 0) {
      refused_.erase(*at);
      if (blocked) worker.held.erase(held);  // an executor that does not obey has reported why, and it is held again
    }
    at = unblock_due_.erase(at);
  }
}

/// [DP-9] What is left of a run, as if an executor had just reported it. The trigger may be gone: half of it is not.
void Dispatcher::take_up(Run& run, const StoredRun& stored) {
  run.attempt = stored.attempts + 1;
  auto effects = decode_effects(stored.effects);
  if (!effects) {
    run.status = RunStatus::failed;
    run.give_up = true;
    run.error = "what is left of the run is damaged in the store";
    return;
  }
  run.status = RunStatus::ok;
  run.carried = true;
  run.effects = std::move(*effects);
  run.from = next_provenance(stored.event->provenance, stored.seq + 1);
  run.trace = TraceStep{stored.seq + 1, stored.event->provenance, stored.event->kind, stored.event->key};
}

/// Hands stored runs whose time has come to their executors.
bool Dispatcher::feed_stored() {
  const WallMs now = wall_ms();
  if (now < store_look_ms_ || now < store_pause_until_ms_ || !runs_.empty() || !registry_->is_published()) return false;
  auto due = store_->due_runs(now, kStoredPerRound, [&](std::int64_t id) { return running_.contains(id); });
  if (!due) {
    log::error("the store cannot be read: {}", due.failure().text);
    store_pause_until_ms_ = now + kStorePauseMs;
    return false;
  }
  bool fed = false;
  bool waits = false;
  for (StoredRun& stored : *due) {
    const TriggerSpec* const spec = registry_->find(stored.trigger);
    Worker& worker = worker_of(stored.key_hash);
    if ((spec != nullptr && spec->paused) || !worker.process) {
      waits = true;
      continue;
    }
    Run run;  // what is known without running it
    run.stored_id = stored.id;
    run.seq = EventSeq{stored.seq};
    run.key_hash = stored.key_hash;
    run.trigger_slot = spec != nullptr ? spec->slot : RunReport::kNoTriggerSlot;
    if (!stored.effects.empty() && stored.event) {
      take_up(run, stored);
    } else if (spec == nullptr || spec->is_group) {  // a group of that name has come in its place
      run.status = RunStatus::skipped;
    } else if (!stored.event) {
      run.status = RunStatus::failed;
      run.attempt = std::max(spec->retry_attempts, stored.attempts + 1);
      run.error = "the stored event is damaged";
    } else {
      stored.event->attempt = stored.attempts + 1;
      stored.event->duplicate = stored.event->duplicate || stored.id <= duplicates_before_.stored;
      const bool slow = !slow_runs_.empty() && slow_runs_.contains({stored.event_id, stored.trigger});
      const auto token = static_cast<std::uint64_t>(stored.id);
      if (!(slow ? run_aside(stored, spec->slot) : worker.process->run_stored(token, spec->slot, *stored.event))) {
        waits = true;
        continue;
      }
      running_.insert(stored.id);
      in_hand_.emplace(stored.id, std::move(stored));
      fed = true;
      continue;
    }
    running_.insert(stored.id);
    in_hand_.emplace(stored.id, std::move(stored));
    runs_.push_back(std::move(run));
    fed = true;
  }
  const auto next = store_->next_run_wall_ms();
  const WallMs earliest = next && *next ? **next : now + kStoreLookMs;
  store_look_ms_ = waits ? now + kPausedLookMs : std::clamp(earliest, now + 1, now + kStoreLookMs);
  return fed;
}

void Dispatcher::idle(bool worked) {
  if (worked) {
    idle_rounds_ = 0;
    return;
  }
  if (++idle_rounds_ < kSpinRounds && options_.spin) return;
  const auto at = std::find_if(workers_.begin(), workers_.end(), [](const Worker& w) { return w.process != nullptr; });
  if (at == workers_.end()) {
    std::this_thread::sleep_for(kIdleWait);
    return;
  }
  {
    std::lock_guard lock{tasks_mutex_};
    if (!tasks_.empty()) return;
    idle_at_ = at->process.get();
  }
  const bool calm = idle_rounds_ > kLongIdleRounds && workers_.size() == 1 && asides_.empty();
  at->process->wait(calm ? kLongIdleWait : kIdleWait);
  std::lock_guard lock{tasks_mutex_};
  idle_at_ = nullptr;
}

}  // namespace cachee::daemon
