#include "events/dispatcher.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/log.hpp"
#include "events/appliers.hpp"
#include "events/backoff.hpp"

namespace cachee::daemon {
namespace {

constexpr int kReportsPerRound = 1024;
constexpr std::size_t kReleasePositionsMax = 4096;
constexpr std::size_t kStoredPerRound = 64;
constexpr std::int64_t kStorePauseMs = 200;     // after a failure of the store or the disk
constexpr std::int64_t kStoreLookMs = 1000;     // at least so often
constexpr std::int64_t kPausedLookMs = 50;
constexpr int kSpinRounds = 64;
constexpr std::chrono::microseconds kIdleWait{2000};
constexpr std::chrono::milliseconds kRestartPause{200};
constexpr int kRestartsAtOnce = 5;

std::int64_t wall_ms() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

TimeNs mono_ns() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }

bool is_cache_effect(const Effect& effect) noexcept {
  switch (effect.kind) {
    case EffectKind::log:
    case EffectKind::webhook:
    case EffectKind::warm:
    case EffectKind::metric: return false;
    default: return true;
  }
}

bool is_store_effect(const Effect& effect) noexcept {
  return effect.kind == EffectKind::log || effect.kind == EffectKind::webhook || effect.kind == EffectKind::warm;
}

Provenance next_provenance(const Provenance& of_event, std::uint64_t event_number) noexcept {
  return {event_number, of_event.chain != 0 ? of_event.chain : event_number, of_event.depth + 1};
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
  auto writer = LogWriter::open(*made->store_);
  if (!writer) return writer.failure();
  made->log_ = std::move(*writer);
  auto cache = keeper.client(Role::trigger, "dispatcher");
  if (!cache) return Failure{cache.error().code, "the dispatcher's handle: " + to_string(cache.error())};
  made->cache_.emplace(std::move(*cache));
  if (auto recovered = made->recover_spool(); !recovered) return recovered.failure();
  made->registry_ = std::make_unique<Registry>(keeper, *made->store_, [made = made.get()](std::string_view trigger) {
    return made->spooled_of_trigger(trigger);
  });
  if (auto loaded = made->registry_->load(); !loaded) return loaded.failure();
  if (auto recovered = made->recover_ring(); !recovered) return recovered.failure();
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
  return {};
}

Outcome<void> Dispatcher::start() {
  std::uint64_t first = base_;
  for (const Position& position : positions_) {
    if (!position.done) break;
    ++first;
  }
  std::uint64_t duplicate_before = 0;
  for (std::uint32_t i = 0; i < kExecutorsMax; ++i) {
    auto lane = keeper_.lane(i);
    if (!lane) return Failure{lane.error().code, "the lane of an executor: " + to_string(lane.error())};
    duplicate_before = std::max(duplicate_before, lane->position());
    const Lane::Running running = lane->running();
    if (running.since != 0 && running.token == 0 && position_of(running.seq.value) != nullptr && running.seq.value < base_ + positions_.size()) {
      keeper_.count_attempt(running.seq);
    }
    lane->end();
  }
  if (auto taken = take_over_claimed(); !taken) return taken;
  if (spooling_) first = spool_next_;
  for (std::uint32_t i = 0; i < options_.executors; ++i) {
    Worker worker;
    worker.lane = i;
    worker.next = duplicate_before;
    worker.stopped_at = first;
    workers_.push_back(std::move(worker));
  }
  for (Worker& worker : workers_) {
    if (auto started = start_worker(worker, first); !started) return started;
  }
  thread_ = std::thread{[this] { loop(); }};
  return {};
}

Outcome<void> Dispatcher::start_worker(Worker& worker, std::uint64_t from) {
  ExecutorOptions options;
  options.executable = options_.executable;
  options.segment = options_.segment;
  options.lane = worker.lane;
  options.lane_count = options_.executors;
  options.start_position = from;
  options.duplicate_before = worker.next;
  options.spin = options_.spin;
  options.stopped = spooling_;
  if (spooling_) {
    // What an executor may take of the ring ended with the last one: it gets the rest from the spool.
    options.start_position = worker.stopped_at;
  }
  worker.reports = 0;
  worker.held.clear();
  const auto lanes = store_->blocked_lanes();
  if (!lanes) return lanes.failure();
  for (const BlockedLane& blocked : *lanes) {
    const TriggerSpec* const spec = registry_->find(blocked.trigger);
    if (spec == nullptr || blocked.key_hash % options_.executors != worker.lane) continue;
    options.blocked.emplace_back(blocked.key_hash, spec->slot);
    worker.held[{blocked.key_hash, spec->slot}] = 0;
  }
  worker.next = options.start_position;
  auto started = Executor::start(options);
  if (!started) return started.failure();
  worker.process = std::move(*started);
  log::info("executor {} runs with pid {}, from event {}", worker.lane, worker.process->pid(), options.start_position);
  return {};
}

void Dispatcher::stop(std::chrono::milliseconds patience) {
  if (!thread_.joinable()) return;
  const auto until = std::chrono::steady_clock::now() + patience;
  stopping_.store(true);
  while (!drained_.load() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds{2});
  drained_.store(true);
  thread_.join();
  for (Worker& worker : workers_) worker.process.reset();
}

void Dispatcher::loop() {
  for (;;) {
    registry_->catch_up();
    bool worked = run_tasks();
    worked = collect() || worked;
    carry_out();
    answer_waits();
    release();
    unblock_pairs();
    worked = tend_backlog() || worked;
    worked = feed_spooled() || worked;
    advance_cursor();
    worked = feed_stored() || worked;
    prune_ledger(wall_ms());
    worked = look_after_workers() || worked;
    if (stopping_.load()) {
      if (drained_.load()) return;
      if (!worked && runs_.empty() && running_.empty() && reader_.head() == reader_.tail()) drained_.store(true);
    }
    idle(worked || !runs_.empty());
  }
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
  if (!runs_.empty()) return false;  // the store failed: no more in hand than one round
  int reports = 0;
  for (Worker& worker : workers_) {
    if (!worker.process) continue;
    reports += worker.process->poll(kReportsPerRound, [&](const RunReport& report) { take_report(worker, report); });
  }
  return reports > 0;
}

Dispatcher::Position* Dispatcher::position_of(std::uint64_t seq) {
  if (seq < base_ || seq - base_ > std::uint64_t{kRingEventsMax}) return nullptr;
  while (seq - base_ >= positions_.size()) positions_.emplace_back();
  return &positions_[seq - base_];
}

void Dispatcher::take_report(Worker& worker, const RunReport& report) {
  ++worker.reports;
  if (report.token >= kTestTokens) return answer_test(report);
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
    figures.steps += report.steps;
    figures.run_ns += report.run_ns;
    figures.run_ns_max = std::max(figures.run_ns_max, report.run_ns);
    figures.memory_peak = std::max(figures.memory_peak, report.memory_peak);
    figures.lag_us_max = std::max(figures.lag_us_max, report.lag_us);
    figures.lag_us_total += report.lag_us;
  }
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  if (spec != nullptr && run.from.depth > spec->depth_max && std::any_of(run.effects.begin(), run.effects.end(), is_cache_effect)) {
    refuse(run, fmt::format("MAXDEPTH {} reached: this trigger was set off by itself or others, chain {}", spec->depth_max, reader_.event_id(run.from.chain)), true);
  }
  runs_.push_back(std::move(run));
}

/// Turns a run that Lua did well into a failed one. `give_up`: no further attempts.
void Dispatcher::refuse(Run& run, std::string error, bool give_up) {
  run.status = RunStatus::failed;
  run.error = std::move(error);
  run.effects.clear();
  run.step = Step::fresh;
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  if (give_up && spec != nullptr) run.attempt = std::max(run.attempt, spec->retry_attempts);
  if (run.stored_id != 0 || give_up) return;
  // The executor thinks it succeeded: tell it to hold what follows. What it ran meanwhile is out of
  // order with the retry, which is why this is for resources that ran out and not for handlers.
  Worker& worker = worker_of(run.key_hash);
  if (worker.process) worker.process->block(run.key_hash, run.trigger_slot);
  worker.held.try_emplace({run.key_hash, run.trigger_slot}, 0);
}

void Dispatcher::carry_out() {
  if (runs_.empty()) return;
  const WallMs now = wall_ms();
  if (now < store_pause_until_ms_) return;
  const auto failed = [&](const char* what, const Failure& failure) {
    log::error("{}: {}; events wait, trying again in {} ms", what, failure.text, kStorePauseMs);
    store_pause_until_ms_ = now + kStorePauseMs;
  };
  // Twice: what the cache refused in D3 goes into the store after all, and stored runs whose cache
  // effects are in the cache are finished.
  for (int pass = 0; pass < 2; ++pass) {
    if (auto committed = commit_runs(now); !committed) return failed("the store did not take the results", committed.failure());
    if (auto flushed = log_->flush(); !flushed) return failed("a log file was not written", flushed.failure());
    if (!apply_runs()) break;
  }
  settle_runs();
}

/// D1 for every run that needs it: one transaction.
Outcome<void> Dispatcher::commit_runs(WallMs now) {
  const auto needs_store = [](const Run& run) {
    if (run.step == Step::finish) return true;
    if (run.step != Step::fresh) return false;
    if (run.stored_id != 0 || run.duplicate) return true;
    return run.status == RunStatus::failed || run.status == RunStatus::held ||
           std::any_of(run.effects.begin(), run.effects.end(), is_store_effect);
  };
  std::vector<std::pair<Run*, Step>> steps;
  if (std::any_of(runs_.begin(), runs_.end(), needs_store)) {
    auto batch = store_->begin();
    if (!batch) return batch.failure();
    bool outbox = false;
    for (Run& run : runs_) {
      if (!needs_store(run)) continue;
      auto next = commit_run(*batch, run, now);
      if (!next) return next.failure();
      outbox = outbox || std::any_of(run.effects.begin(), run.effects.end(), is_store_effect);
      steps.emplace_back(&run, *next);
    }
    if (auto committed = batch->commit(); !committed) return committed;
    if (outbox && options_.outbox_wake) options_.outbox_wake();
    store_look_ms_ = 0;  // there may be new runs that are due
  }
  for (const auto& [run, step] : steps) run->step = step;
  for (Run& run : runs_) {
    if (run.step != Step::fresh) continue;
    run.step = std::any_of(run.effects.begin(), run.effects.end(), is_cache_effect) ? Step::apply : Step::done;
  }
  return {};
}

Outcome<Dispatcher::Step> Dispatcher::commit_run(Batch& batch, Run& run, WallMs now) {
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  if (run.step == Step::finish || (run.stored_id != 0 && run.status == RunStatus::skipped)) {
    auto finished = batch.finish(run.stored_id, now);
    if (!finished) return finished.failure();
    return Step::done;
  }
  const SpooledRun spooled = run.spool_token != 0 ? spooled_of(run.spool_token).value_or(SpooledRun{}) : SpooledRun{};
  if (run.spool_token != 0 && run.status == RunStatus::skipped) return Step::done;  // its trigger is gone
  const std::string event_id = run.stored_id != 0 ? in_hand_.at(run.stored_id).event_id
                               : spooled.spooled  ? spooled.spooled->record.event.id
                                                  : id_of(run.seq);
  const std::string trigger = spooled.spooled ? spooled.name() : spec != nullptr ? spec->name : std::string{};
  if (run.stored_id == 0 && run.duplicate && !trigger.empty()) {
    auto moved = batch.was_moved(event_id, trigger);
    if (!moved) return moved.failure();
    if (*moved) {
      run.moved = true;
      run.effects.clear();
      return Step::done;
    }
  }
  if (run.status == RunStatus::failed || run.status == RunStatus::held) return commit_failed(batch, run, spec, now);
  if (std::any_of(run.effects.begin(), run.effects.end(), is_store_effect)) {
    const RunRef ref{event_id, run.seq.value, trigger, run.from};
    auto added = batch.add_effects(ref, run.effects, now);
    if (!added && added.failure().code == Errc::invalid_argument) {
      refuse(run, added.failure().text, false);
      return commit_failed(batch, run, spec, now);
    }
    if (!added) return added.failure();
  }
  const bool apply = std::any_of(run.effects.begin(), run.effects.end(), is_cache_effect);
  if (apply) return Step::apply;
  if (run.stored_id == 0) return Step::done;
  auto finished = batch.finish(run.stored_id, now);
  if (!finished) return finished.failure();
  return Step::done;
}

Outcome<Dispatcher::Step> Dispatcher::commit_failed(Batch& batch, Run& run, const TriggerSpec* spec, WallMs now) {
  // A run whose trigger was removed while it failed has nobody left to be run for.
  const bool give_up = spec == nullptr || (!run.free_of_charge && run.attempt >= spec->retry_attempts);
  const std::uint32_t attempts = run.free_of_charge ? run.attempt - 1 : run.attempt;
  const WallMs next = now + (spec != nullptr ? backoff_ms(*spec, run.attempt, random_) : 0);
  if (run.stored_id != 0) {
    const RunFailure failure{attempts, next, run.error, run.traceback};
    auto done = give_up ? batch.bury(run.stored_id, failure, now) : batch.fail(run.stored_id, failure);
    if (!done) return done.failure();
    return Step::done;
  }
  if (spec == nullptr) return Step::done;
  EventData data;
  if (run.spool_token != 0) {
    const auto spooled = spooled_of(run.spool_token);
    if (!spooled) return Failure{Errc::corrupt, "a spooled event was lost from memory"};
    data = spooled->spooled->record.event;
  } else {
    const auto event = reader_.at(run.seq);
    if (!event) return Failure{event.error().code, fmt::format("event {} cannot be read: {}", id_of(run.seq), to_string(event.error()))};
    data = copy_event(*event, reader_);
  }
  const std::string event_id = data.id;
  MovedRun moved;
  moved.run = RunRef{event_id, run.seq.value, spec->name, run.from};
  moved.trigger_id = spec->id;
  moved.key_hash = run.key_hash;
  if (run.status == RunStatus::held) {
    moved.state = RunState::held;
  } else {
    moved.state = give_up ? RunState::dead : RunState::waiting;
    moved.attempts = attempts;
    moved.next_attempt_wall_ms = next;
    moved.error = run.error;
    moved.traceback = run.traceback;
  }
  auto result = batch.move_in(moved, data, now);
  if (!result) return result.failure();
  run.moved = true;
  return Step::done;
}

/// D3. True when another pass over the store is needed.
bool Dispatcher::apply_runs() {
  bool again = false;
  for (Run& run : runs_) {
    if (run.step != Step::apply) continue;
    if (auto refused = apply_effects(*cache_, run.effects, run.from)) {
      run.free_of_charge = refused->for_room;
      refuse(run, std::move(refused->text), false);
      again = true;
    } else if (run.stored_id != 0) {
      run.step = Step::finish;
      again = true;
    } else {
      run.step = Step::done;
    }
  }
  return again;
}

/// D4 for the runs that are done, in order: an event counts as done with its last run.
void Dispatcher::settle_runs() {
  std::size_t settled = 0;
  for (; settled < runs_.size() && runs_[settled].step == Step::done; ++settled) {
    Run& run = runs_[settled];
    const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
    if (run.trigger_slot != RunReport::kNoTriggerSlot) count_run(run, spec);
    if (run.trace && run.status == RunStatus::ok) keep_trace(run, spec);
    if (run.stored_id != 0) {
      running_.erase(run.stored_id);
      in_hand_.erase(run.stored_id);
      unblock_due_.emplace(run.key_hash, run.trigger_slot);
      continue;
    }
    if (run.spool_token != 0) {
      const auto spooled = spooled_of(run.spool_token);
      if (!spooled) continue;
      spooled->state() = run.moved ? Spooled::State::moved : Spooled::State::over;
      if (!run.moved) continue;
      --spooled_runs_[spooled->name()];
      unblock_due_.emplace(run.key_hash, run.trigger_slot);
      continue;
    }
    Position* const position = position_of(run.seq.value);
    if (position == nullptr) continue;
    if (spec != nullptr && run.status != RunStatus::skipped) {
      if (run.moved) {
        position->add(run.trigger_slot, {.emitted = 1, .moved = 1});
      } else {
        position->add(run.trigger_slot, {.emitted = 1, .acknowledged = 1});
      }
    }
    // A dead letter or a run that was moved before holds nothing back.
    if (run.moved) unblock_due_.emplace(run.key_hash, run.trigger_slot);
    if (run.last) {
      position->done = true;
      keeper_.acknowledge(run.seq, position->moved != 0);
    }
  }
  runs_.erase(runs_.begin(), runs_.begin() + static_cast<std::ptrdiff_t>(settled));
  waits_look_ = waits_look_ || settled > 0;
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

void Dispatcher::keep_trace(Run& run, const TriggerSpec* spec) {
  run.trace->trigger = spec != nullptr ? spec->name : "(removed)";
  run.trace->wall_ms = wall_ms();
  trace_.push_back(std::move(*run.trace));
  if (trace_.size() > kTraceStepsMax) trace_.pop_front();
}

void Dispatcher::count_run(const Run& run, const TriggerSpec* spec) {
  TriggerFigures& figures = figures_[run.trigger_slot];
  switch (run.status) {
    case RunStatus::ok: ++figures.ok; break;
    case RunStatus::held: ++figures.held; break;
    case RunStatus::skipped: break;
    case RunStatus::failed: {
      const bool dead = spec == nullptr || (!run.free_of_charge && run.attempt >= spec->retry_attempts);
      ++figures.failed;
      ++(dead ? figures.dead : figures.retried);
      figures.last_error = run.error;
      log::warn("trigger {}: event {} failed, attempt {}{}: {}", spec != nullptr ? spec->name : "(removed)", id_of(run.seq),
                run.attempt, dead ? ", dead letter" : "", run.error);
      break;
    }
  }
}

void Dispatcher::release() {
  while (!positions_.empty() && positions_.front().done) {
    std::map<std::uint32_t, Counters> sums;
    std::size_t count = 0;
    while (count < positions_.size() && count < kReleasePositionsMax && positions_[count].done &&
           sums.size() + positions_[count].deltas.size() <= Maintainer::kReleaseDeltasMax) {
      for (const auto& delta : positions_[count].deltas) {
        Counters& sum = sums[delta.trigger_slot];
        sum.emitted += delta.add.emitted;
        sum.acknowledged += delta.add.acknowledged;
        sum.moved += delta.add.moved;
        sum.shed += delta.add.shed;
      }
      ++count;
    }
    if (count == 0) return log::error("event {} concerns more triggers than one release can count", id_of(EventSeq{base_}));
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

/// [DP-2] An executor may run a pair's ring events again when the store has none of its runs left.
void Dispatcher::unblock_pairs() {
  for (auto at = unblock_due_.begin(); at != unblock_due_.end();) {
    const auto [key_hash, slot] = *at;
    const TriggerSpec* const spec = registry_->find_slot(slot);
    Worker& worker = worker_of(key_hash);
    const auto held = worker.held.find(*at);
    if (spec == nullptr || held == worker.held.end() || !worker.process) {
      at = unblock_due_.erase(at);
      continue;
    }
    const auto left = store_->count_lane(spec->name, key_hash);
    if (!left || (*left == 0 && !worker.process->unblock(key_hash, slot, held->second))) {
      ++at;  // the store or the inbox is busy: next round
      continue;
    }
    at = unblock_due_.erase(at);
  }
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
    if (spec == nullptr) {
      run.status = RunStatus::skipped;
    } else if (!stored.event) {
      run.status = RunStatus::failed;
      run.attempt = std::max(spec->retry_attempts, stored.attempts + 1);
      run.error = "the stored event is damaged";
    } else {
      stored.event->attempt = stored.attempts + 1;
      if (!worker.process->run_stored(static_cast<std::uint64_t>(stored.id), spec->slot, *stored.event)) {
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

bool Dispatcher::look_after_workers() {
  bool worked = false;
  const auto timeout_of = [&](std::uint32_t slot) {
    const TriggerSpec* const spec = registry_->find_slot(slot);
    return spec != nullptr ? spec->timeout_ms : TriggerSpec{}.timeout_ms;
  };
  for (Worker& worker : workers_) {
    if (worker.process) {
      if (const auto stuck = worker.process->watchdog(mono_ns(), timeout_of)) {
        bury_worker(worker, fmt::format("the handler ran over its wall-clock limit of {} ms and was stopped", timeout_of(stuck->running.trigger_slot)));
        worked = true;
      } else if (const auto reason = worker.process->exited()) {
        bury_worker(worker, *reason);
        worked = true;
      }
    }
    if (!worker.process && std::chrono::steady_clock::now() >= worker.restart_at && runs_.empty()) {
      if (auto started = start_worker(worker, worker.next); !started) {
        log::error("an executor does not start: {}", started.failure().text);
        worker.restart_at = std::chrono::steady_clock::now() + kRestartPause;
      }
      worked = true;
    }
  }
  return worked;
}

/// Takes what a dead executor had reported, charges what it was running, clears the way for a new one.
void Dispatcher::bury_worker(Worker& worker, const std::string& reason) {
  while (worker.process->poll(kReportsPerRound, [&](const RunReport& report) { take_report(worker, report); }) > 0) {
  }
  log::warn("executor {} (pid {}) ended: {}", worker.lane, worker.process->pid(), reason);
  worker.process.reset();
  auto lane = keeper_.lane(worker.lane);
  const Lane::Running running = lane ? lane->running() : Lane::Running{};
  if (running.since != 0) charge(worker, running, reason);
  if (lane) lane->end();
  hand_back_claimed(worker);
  // Stored runs it had in its inbox were not started: they are due again.
  for (auto at = in_hand_.begin(); at != in_hand_.end();) {
    const bool reported = std::any_of(runs_.begin(), runs_.end(), [&](const Run& run) { return run.stored_id == at->first; });
    if (at->second.key_hash % options_.executors != worker.lane || reported) {
      ++at;
      continue;
    }
    running_.erase(at->first);
    at = in_hand_.erase(at);
  }
  store_look_ms_ = 0;
  const auto now = std::chrono::steady_clock::now();
  worker.restarts = now - worker.restart_at < std::chrono::seconds{1} ? worker.restarts + 1 : 0;
  worker.restart_at = worker.restarts < kRestartsAtOnce ? now : now + kRestartPause;
  for (auto& [token, promise] : tests_) promise.set_value("the executor ended: " + reason);
  tests_.clear();
}

/// The run that an executor died in counts as a failed attempt; the event's other runs, which it did
/// not come to, go to the store as well, so that the new executor begins behind the event.
void Dispatcher::charge(Worker& worker, const Lane::Running& running, const std::string& reason) {
  Run run;
  run.trigger_slot = running.trigger_slot;
  run.status = RunStatus::failed;
  run.error = reason;
  if (running.token >= kTestTokens) return;
  if (running.token >= kSpoolTokens) {
    const auto spooled = spooled_of(running.token);
    const bool reported = std::any_of(runs_.begin(), runs_.end(), [&](const Run& other) { return other.spool_token == running.token; });
    if (!spooled || spooled->state() != Spooled::State::running || reported) return;
    run.spool_token = running.token;
    run.spool_trigger = spooled->name();
    run.seq = EventSeq{spooled->spooled->record.seq};
    run.key_hash = spooled->spooled->record.key_hash;
    run.duplicate = spooled->spooled->record.event.duplicate;
    runs_.push_back(std::move(run));
    return;
  }
  if (running.token != 0) {
    const auto at = in_hand_.find(static_cast<std::int64_t>(running.token));
    if (at == in_hand_.end()) return;
    run.stored_id = at->first;
    run.seq = EventSeq{at->second.seq};
    run.key_hash = at->second.key_hash;
    run.attempt = at->second.attempts + 1;
    runs_.push_back(std::move(run));
    return;
  }
  const Position* const position = position_of(running.seq.value);
  if (position == nullptr || position->done || worker.next > running.seq.value) return;  // reported after all
  const auto event = reader_.at(running.seq);
  if (!event) return;
  keeper_.count_attempt(running.seq);
  run.seq = running.seq;
  run.key_hash = event->key_hash;
  run.attempt = event->attempts();
  run.last = false;
  std::vector<Run> rest;
  registry_->match(*event, [&](const TriggerSpec& spec) {
    const bool reported = std::any_of(runs_.begin(), runs_.end(), [&](const Run& other) {
      return other.of_ring() && other.seq == running.seq && other.trigger_slot == spec.slot;
    }) || std::any_of(position->deltas.begin(), position->deltas.end(), [&](const auto& d) { return d.trigger_slot == spec.slot; });
    if (reported || spec.slot == running.trigger_slot) return;
    Run other = run;
    other.trigger_slot = spec.slot;
    other.status = RunStatus::held;
    other.error.clear();
    rest.push_back(std::move(other));
  });
  if (registry_->find_slot(run.trigger_slot) == nullptr) run.status = RunStatus::skipped;
  runs_.push_back(std::move(run));
  for (Run& other : rest) runs_.push_back(std::move(other));
  runs_.back().last = true;
  worker.next = running.seq.value + 1;
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
  } else {
    at->process->wait(kIdleWait);
  }
}

}  // namespace cachee::daemon
