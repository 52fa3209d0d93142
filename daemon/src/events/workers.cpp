// Executors: started, watched, and followed by another when they die.
#include <algorithm>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/dispatcher.hpp"

namespace cachee::daemon {
namespace {

constexpr std::chrono::milliseconds kRestartPause{200};
constexpr int kRestartsAtOnce = 5;
constexpr std::chrono::milliseconds kLookMin{1};   // between two looks of the watchdog: a quarter of the
constexpr std::chrono::milliseconds kLookMax{10};  // shortest TIMEOUT, within these

}  // namespace

/// What all executors have in common.
ExecutorOptions Dispatcher::options_of_executor(std::uint32_t lane) const {
  ExecutorOptions options;
  options.executable = options_.executable;
  options.segment = options_.segment;
  options.lane = lane;
  options.still_ms_max = options_.still_ms_max;
  return options;
}

Outcome<void> Dispatcher::start_worker(Worker& worker, std::uint64_t from) {
  ExecutorOptions options = options_of_executor(worker.lane);
  options.lane_count = options_.executors;
  options.start_position = from;
  options.duplicate_before = duplicates_before_.ring;
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
  set_process(worker, std::move(*started));
  log::info("executor {} runs with pid {}, from event {}", worker.lane, worker.process->pid(), options.start_position);
  return {};
}

void Dispatcher::set_process(Worker& worker, std::unique_ptr<Executor> process) {
  const std::lock_guard lock{watch_mutex_};
  worker.process.swap(process);
  std::erase(watched_, process.get());
  if (worker.process) watched_.push_back(worker.process.get());
}

/// The watchdog's thread. It reads the trigger table by itself: the registry is the dispatcher's, which may be waiting
/// for the disk. A run cannot be of a younger table than the one that is read here after it began.
void Dispatcher::watch() {
  TriggerTable table;
  std::uint32_t shortest_ms = TriggerSpec{}.timeout_ms;
  const auto timeout_of = [&table](std::uint32_t slot) {
    const auto spec = std::find_if(table.triggers.begin(), table.triggers.end(), [slot](const TriggerSpec& t) { return t.slot == slot; });
    return spec != table.triggers.end() ? spec->timeout_ms : TriggerSpec{}.timeout_ms;
  };
  std::unique_lock lock{watch_mutex_};
  while (watching_) {
    const TimeNs now = mono_ns();  // before the table is read: what began later is not over its time
    if (trigger_generation(keeper_.cache()) != table.generation) {
      lock.unlock();
      if (auto read = read_triggers(keeper_.cache())) {
        table = std::move(*read);
        shortest_ms = TriggerSpec{}.timeout_ms;
        for (const TriggerSpec& spec : table.triggers) shortest_ms = std::min(shortest_ms, spec.timeout_ms);
      }
      lock.lock();
    }
    for (Executor* const process : watched_) static_cast<void>(process->watchdog(now, timeout_of));
    watch_over_.wait_for(lock, std::clamp(std::chrono::milliseconds{shortest_ms / 4}, kLookMin, kLookMax));
  }
}

/// No pause, however often: what was ended for taking long has paced itself, and the other keys of the lane wait for the
/// next process.
void Dispatcher::restart_at_once(Worker& worker) {
  worker.restarts = 0;
  worker.restart_at = std::chrono::steady_clock::now();
}

bool Dispatcher::look_after_workers() {
  bool worked = false;
  for (Worker& worker : workers_) {
    if (worker.process) {
      if (set_slow_run_aside(worker)) {
        worked = true;
      } else if (const auto reason = worker.process->exited()) {
        const bool killed = worker.process->was_killed();
        bury_worker(worker, *reason, Charge::attempt);
        if (killed) restart_at_once(worker);
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
  return look_after_asides() || worked;
}

/// Takes what a dead executor had reported, charges what it was running, clears the way for a new one.
void Dispatcher::bury_worker(Worker& worker, const std::string& reason, Charge how) {
  while (worker.process->poll(kReportsPerRound, [&](const RunReport& report) { take_report(worker, report); }) > 0) {
  }
  log::warn("executor {} (pid {}) ended: {}", worker.lane, worker.process->pid(), reason);
  set_process(worker, nullptr);
  auto lane = keeper_.lane(worker.lane);
  const Lane::Running running = lane ? lane->running() : Lane::Running{};
  if (running.since != 0) charge(worker, running, reason, how);
  if (lane) lane->end();
  hand_back_claimed(worker);
  // Stored runs it had in its inbox were not started: they are due again.
  for (auto at = in_hand_.begin(); at != in_hand_.end();) {
    if (at->second.key_hash % options_.executors != worker.lane || is_stored_reported(at->first) || is_aside(at->first)) {
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
  for (auto at = tests_.begin(); at != tests_.end();) {
    if (at->second.lane != worker.lane) {
      ++at;
      continue;
    }
    at->second.answer.set_value("the executor ended: " + reason);
    at = tests_.erase(at);
  }
}

bool Dispatcher::is_stored_reported(std::int64_t id) const {
  return std::any_of(runs_.begin(), runs_.end(), [&](const Run& run) { return run.stored_id == id; });
}

bool Dispatcher::is_spooled_reported(std::uint64_t token) const {
  return std::any_of(runs_.begin(), runs_.end(), [&](const Run& run) { return run.spool_token == token; });
}

/// The run that an executor died in counts as a failed attempt, and as one that may have been run [DP-6]; the event's
/// other runs, which it did not come to, go to the store as well, so that the new executor begins behind the event. One
/// that is set aside goes there too, as if it had been held.
void Dispatcher::charge(Worker& worker, const Lane::Running& running, const std::string& reason, Charge how) {
  const std::size_t reported = runs_.size();
  charge_run(worker, running, reason, how);
  if (runs_.size() == reported || how != Charge::attempt) return;
  // The longest runs are those that nobody reports.
  figures_[running.trigger_slot].run_ns.add(static_cast<std::uint64_t>(std::max<TimeNs>(mono_ns() - running.since, 0)));
}

void Dispatcher::charge_run(Worker& worker, const Lane::Running& running, const std::string& reason, Charge how) {
  Run run;
  run.trigger_slot = running.trigger_slot;
  run.status = how == Charge::aside ? RunStatus::held : RunStatus::failed;
  if (how == Charge::attempt) run.error = reason;
  if (running.token >= kTestTokens) return;
  const TriggerSpec* const trigger = registry_->find_slot(running.trigger_slot);
  const auto set_aside = [&](const std::string& event_id) {
    if (how == Charge::aside && trigger != nullptr) slow_runs_.emplace(event_id, trigger->name);
  };
  if (running.token >= kSpoolTokens) {
    const auto spooled = spooled_of(running.token);
    if (!spooled || spooled->state() != Spooled::State::running || is_spooled_reported(running.token)) return;
    run.spool_token = running.token;
    run.spool_trigger = spooled->name();
    run.seq = EventSeq{spooled->spooled->record.seq};
    run.key_hash = spooled->spooled->record.key_hash;
    run.duplicate = how == Charge::attempt || spooled->spooled->record.event.duplicate;
    set_aside(spooled->spooled->record.event.id);
    runs_.push_back(std::move(run));
    return;
  }
  if (running.token != 0) {
    const auto at = in_hand_.find(static_cast<std::int64_t>(running.token));
    if (at == in_hand_.end() || is_stored_reported(at->first)) return;
    set_aside(at->second.event_id);
    if (how == Charge::aside) return;  // it is in the store, and due again
    run.stored_id = at->first;
    run.seq = EventSeq{at->second.seq};
    run.key_hash = at->second.key_hash;
    run.attempt = at->second.attempts + 1;
    run.duplicate = true;
    runs_.push_back(std::move(run));
    return;
  }
  const Position* const position = position_of(running.seq.value);
  if (position == nullptr || position->done || worker.next > running.seq.value) return;  // reported after all
  const auto event = reader_.at(running.seq);
  if (!event) return;
  if (how == Charge::attempt) keeper_.count_attempt(running.seq);
  set_aside(id_of(running.seq));
  run.seq = running.seq;
  run.key_hash = event->key_hash;
  run.attempt = event->attempts();
  run.duplicate = may_have_run(running.seq);
  run.last = false;
  std::vector<Run> rest;
  registry_->match(*event, [&](const TriggerSpec& spec) {
    const bool reported = std::any_of(runs_.begin(), runs_.end(), [&](const Run& other) {
      return other.of_ring() && other.seq == running.seq && other.trigger_slot == spec.slot;
    }) || std::any_of(position->deltas.begin(), position->deltas.end(), [&](const auto& d) { return d.trigger_slot == spec.slot; });
    if (reported || spec.slot == running.trigger_slot) return;
    Run other = run;
    other.trigger_slot = spec.slot;
    other.status = spec.is_group ? RunStatus::handed : RunStatus::held;
    other.error.clear();
    rest.push_back(std::move(other));
  });
  if (how == Charge::attempt) run.duplicate = true;
  if (trigger == nullptr) run.status = RunStatus::skipped;
  runs_.push_back(std::move(run));
  for (Run& other : rest) runs_.push_back(std::move(other));
  runs_.back().last = true;
  worker.next = running.seq.value + 1;
}

}  // namespace cachee::daemon
