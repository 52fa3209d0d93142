// From reports to acknowledged events: D1 to D4 of dispatcher.hpp.
#include <algorithm>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/appliers.hpp"
#include "events/backoff.hpp"
#include "events/dispatcher.hpp"

namespace cachee::daemon {

void Dispatcher::note_run(TriggerFigures& figures, const RunReport& report) {
  if (report.status != RunStatus::ok && report.status != RunStatus::failed) return;
  figures.run_ns.add(report.run_ns);
  figures.steps.add(report.steps);
  figures.memory_bytes.add(report.memory_peak);
  figures.lag_us.add(static_cast<std::uint64_t>(std::max<std::int64_t>(report.lag_us, 0)));
}

/// D4 at once for what needs no D1 to D3, which is most: a run of a ring event that went well, did nothing that
/// is to be carried out, and has no older run of any key before it that waits for them.
bool Dispatcher::settle_at_once(Worker& worker, const RunReport& report) {
  const bool plain = report.status == RunStatus::ok && report.token == 0 && report.trigger_slot != RunReport::kNoTriggerSlot &&
                     !report.duplicate && report.effects.empty();
  if (!plain || !runs_.empty() || slow_log_.wants(report.run_ns)) return false;
  Position* const position = position_of(report.seq.value);
  if (position == nullptr || position->done) return true;  // handled before a restart
  worker.next = std::max(worker.next, report.seq.value + (report.last ? 1 : 0));
  TriggerFigures& figures = figures_[report.trigger_slot];
  ++figures.ok;
  note_run(figures, report);
  if (registry_->find_slot(report.trigger_slot) != nullptr) position->add(report.trigger_slot, {.emitted = 1, .acknowledged = 1});
  if (report.last) {
    position->done = true;
    keeper_.acknowledge(report.seq, position->moved != 0);
  }
  waits_look_ = true;
  return true;
}

/// Turns a run that Lua did well into a failed one. `give_up`: no further attempts.
void Dispatcher::refuse(Run& run, std::string error, bool give_up) {
  run.status = RunStatus::failed;
  run.error = std::move(error);
  run.effects.clear();
  run.step = Step::fresh;
  run.give_up = give_up;
  if (run.stored_id != 0 || give_up) return;
  // The executor thinks it succeeded: tell it to hold what follows. What it ran meanwhile is out of
  // order with the retry, which is why this is for resources that ran out and not for handlers.
  Worker& worker = worker_of(run.key_hash);
  if (worker.process) worker.process->block(run.key_hash, run.trigger_slot);
  worker.held.try_emplace({run.key_hash, run.trigger_slot}, 0);
}

/// [DP-8] Looks at all that is about to be applied, because a run may close a cycle with one before it.
void Dispatcher::refuse_cycles() {
  if (std::none_of(runs_.begin(), runs_.end(), [](const Run& run) { return has_dependencies(run.effects); })) return;
  DependencyGraph graph{*cache_};
  for (Run& run : runs_) {
    if (run.step != Step::fresh && run.step != Step::apply) continue;
    const auto planned = plan_dependencies(graph, run.effects);
    if (!planned && run.step == Step::fresh) refuse(run, planned.failure().text, true);
  }
}

void Dispatcher::carry_out() {
  if (runs_.empty()) return;
  const WallMs now = wall_ms();
  if (now < store_pause_until_ms_) return;
  const auto failed = [&](const char* what, const Failure& failure) {
    log::error("{}: {}; events wait, trying again in {} ms", what, failure.text, kStorePauseMs);
    store_pause_until_ms_ = now + kStorePauseMs;
  };
  refuse_cycles();
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
    return run.status == RunStatus::failed || run.status == RunStatus::held || run.status == RunStatus::handed ||
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
    groups_->look_again();
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
  const std::string event_id = event_id_of(run);
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
  if (run.status == RunStatus::failed || run.status == RunStatus::held || run.status == RunStatus::handed) return commit_failed(batch, run, spec, now);
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

/// Empty for one that a consumer had: it has no effects.
std::string Dispatcher::event_id_of(const Run& run) {
  if (run.of_group) return {};
  if (run.stored_id != 0) return in_hand_.at(run.stored_id).event_id;
  const auto spooled = run.spool_token != 0 ? spooled_of(run.spool_token) : std::nullopt;
  return spooled ? spooled->spooled->record.event.id : id_of(run.seq);
}

bool Dispatcher::is_given_up(const Run& run, const TriggerSpec* spec) {
  return spec == nullptr || run.give_up || (!run.free_of_charge && run.attempt >= spec->retry_attempts);
}

Outcome<Dispatcher::Step> Dispatcher::commit_failed(Batch& batch, Run& run, const TriggerSpec* spec, WallMs now) {
  const bool give_up = is_given_up(run, spec);
  const std::uint32_t attempts = run.free_of_charge ? run.attempt - 1 : run.attempt;
  if (give_up && !applied_.empty()) applied_.erase({event_id_of(run), run.trigger_slot});
  const WallMs next = now + run.delay_ms.value_or(spec != nullptr ? backoff_ms(*spec, run.attempt, random_) : 0);
  if (run.stored_id != 0) {
    const RunFailure failure{attempts, next, run.error, run.traceback, run.duplicate};
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
  moved.for_group = spec->is_group;
  // One of a group was in nobody's hands yet: consumers have events from the store alone.
  data.duplicate = run.duplicate && !spec->is_group;
  if (run.status == RunStatus::held || run.status == RunStatus::handed) {
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

/// How many leading effects of this run the cache has already taken from an earlier attempt at the same event.
std::size_t Dispatcher::applied_before(const Run& run) {
  if (applied_.empty()) return 0;
  const auto known = applied_.find({event_id_of(run), run.trigger_slot});
  if (known == applied_.end() || known->second.count > run.effects.size()) return 0;
  const auto count = static_cast<std::ptrdiff_t>(known->second.count);
  const std::vector<Effect> same{run.effects.begin(), run.effects.begin() + count};
  return sha256(encode(same)) == known->second.digest ? known->second.count : 0;
}

/// D3. True when another pass over the store is needed.
bool Dispatcher::apply_runs() {
  bool again = false;
  for (Run& run : runs_) {
    if (run.step != Step::apply) continue;
    const std::size_t before = applied_before(run);
    if (auto refused = apply_effects(*cache_, std::span{run.effects}.subspan(before), run.from)) {
      if (const std::size_t count = before + refused->applied; count > 0) {
        run.effects.resize(count);
        if (applied_.size() >= kAppliedRunsMax) applied_.erase(applied_.begin());
        applied_.insert_or_assign({event_id_of(run), run.trigger_slot}, Applied{count, sha256(encode(run.effects))});
      }
      run.free_of_charge = refused->for_room;
      refuse(run, std::move(refused->text), false);
      again = true;
      continue;
    }
    if (!applied_.empty()) applied_.erase({event_id_of(run), run.trigger_slot});
    if (run.stored_id != 0) {
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
    if (run.of_group) {
      groups_->settled(run.stored_id);
      continue;
    }
    if (run.stored_id != 0) {
      running_.erase(run.stored_id);
      if (const auto at = in_hand_.find(run.stored_id); at != in_hand_.end()) {
        if (!slow_runs_.empty()) slow_runs_.erase({at->second.event_id, at->second.trigger});
        in_hand_.erase(at);
      }
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

}  // namespace cachee::daemon
