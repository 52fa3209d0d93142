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
  if (!refused_.empty() && refused_.contains({report.key_hash, report.trigger_slot})) return false;
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

namespace {

/// The first of the channels that these effects log to.
const UnwrittenChannel* channel_of(const std::vector<Effect>& effects, const std::vector<UnwrittenChannel>& unwritten) {
  const auto at = std::find_if(unwritten.begin(), unwritten.end(), [&](const UnwrittenChannel& channel) {
    return std::any_of(effects.begin(), effects.end(), [&](const Effect& effect) {
      return effect.kind == EffectKind::log && effect.key == channel.name;
    });
  });
  return at != unwritten.end() ? &*at : nullptr;
}

}  // namespace

/// Turns a run that Lua did well into a failed one. `give_up`: no further attempts.
void Dispatcher::refuse(Run& run, std::string error, bool give_up) {
  run.status = RunStatus::failed;
  run.error = std::move(error);
  if (!run.carried) run.effects.clear();
  run.step = Step::fresh;
  run.give_up = give_up;
  if (run.stored_id != 0 || give_up) return;
  // The executor thinks it succeeded: tell it to hold what follows. What it runs meanwhile is turned away.
  refused_.insert(pair_of(run));
  Worker& worker = worker_of(run.key_hash);
  if (worker.process) worker.process->block(run.key_hash, run.trigger_slot);
  worker.held.try_emplace(pair_of(run), 0);
}

/// The handler has done its part and D1 is over: what is left is to be tried again, without it [DP-9].
void Dispatcher::leave(Run& run, std::vector<Effect> left, std::string error) {
  run.carried = true;
  run.effects = std::move(left);
  refuse(run, fmt::format("{}; the handler succeeded, and what is left is done without running the handler again", error), false);
}

/// [DP-2] Behind a run of its pair that was refused after the executor had reported it as well done.
void Dispatcher::hold(Run& run) {
  run.status = RunStatus::held;
  run.step = Step::fresh;
}

/// True for a run of which nothing may be carried out.
bool Dispatcher::turn_away(Run& run, Examiner& examiner) {
  if (run.status != RunStatus::ok) return false;
  const bool is_new = run.step == Step::fresh && !run.carried;
  if (is_new && run.stored_id == 0 && refused_.contains(pair_of(run))) {
    run.effects.clear();
    hold(run);
    return true;
  }
  if (run.effects.empty()) return false;
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  if (is_new && spec != nullptr && is_too_deep(run.effects, run.from.depth, spec->depth_max)) {
    refuse(run, too_deep_text(*spec, run.from.chain), true);
    return true;
  }
  const auto objection = examiner.look_at(run.effects);
  if (!is_new || !objection) return false;  // what is partly applied already counts for those behind it
  run.free_of_charge = objection->was_beaten;
  refuse(run, objection->text, objection->for_good);
  return true;
}

std::string Dispatcher::too_deep_text(const TriggerSpec& spec, std::uint64_t chain) const {
  return fmt::format("MAXDEPTH {} reached: this trigger was set off by itself or others, chain {}", spec.depth_max, reader_.event_id(chain));
}

Examiner Dispatcher::examiner() const {
  return Examiner{*cache_, value_bytes_max_, std::any_of(runs_.begin(), runs_.end(), [](const Run& run) { return has_dependencies(run.effects); })};
}

void Dispatcher::carry_out() {
  if (runs_.empty()) return;
  const WallMs now = wall_ms();
  if (now < store_pause_until_ms_) return;
  const auto failed = [&](const Failure& failure) {
    log::error("the store did not take the results: {}; events wait, trying again in {} ms", failure.text, kStorePauseMs);
    store_pause_until_ms_ = now + kStorePauseMs;
  };
  // Twice: what was refused on the way goes into the store after all, and stored runs whose effects are carried out
  // are finished.
  for (int pass = 0; pass < 2; ++pass) {
    if (auto committed = commit_runs(now); !committed) return failed(committed.failure());
    auto unwritten = log_->flush();
    if (!unwritten) return failed(unwritten.failure());
    complain_of_logs(*unwritten, now);
    apply_runs(*unwritten);
    if (std::all_of(runs_.begin(), runs_.end(), [](const Run& run) { return run.step == Step::done; })) break;
  }
  settle_runs();
}

void Dispatcher::complain_of_logs(const std::vector<UnwrittenChannel>& unwritten, WallMs now) {
  if (unwritten.empty() || now < log_complaint_ms_) return;
  log_complaint_ms_ = now + kLogRetryMs;
  for (const UnwrittenChannel& channel : unwritten) {
    log::error("a log file was not written: {}; the events that logged to it wait", channel.failure.text);
  }
}

bool Dispatcher::needs_store(const Run& run) {
  if (run.step == Step::finish) return true;
  if (run.step != Step::fresh) return false;
  return run.stored_id != 0 || run.duplicate || moves_in(run) || std::any_of(run.effects.begin(), run.effects.end(), is_store_effect);
}

/// It goes from the ring or the spool into the store.
bool Dispatcher::moves_in(const Run& run) {
  return run.stored_id == 0 && run.step == Step::fresh &&
         (run.status == RunStatus::failed || run.status == RunStatus::held || run.status == RunStatus::handed);
}

/// How far a run is that needs nothing more of the store before D2.
Dispatcher::Step Dispatcher::step_after_store(const Run& run) {
  const bool more = std::any_of(run.effects.begin(), run.effects.end(), [](const Effect& effect) {
    return is_cache_effect(effect) || effect.kind == EffectKind::log;
  });
  return more ? Step::apply : Step::done;
}

/// D1 for every run that needs it: one transaction.
Outcome<void> Dispatcher::commit_runs(WallMs now) {
  Examiner looks = examiner();
  std::optional<Batch> batch;
  std::vector<std::pair<Run*, Step>> steps;
  bool outbox = false;
  // [DP-2] A run moves in behind those of its pair that D2 and D3 may still refuse: with them, in the second pass.
  std::set<Pair> open;
  const bool moves = std::any_of(runs_.begin(), runs_.end(), moves_in);
  for (Run& run : runs_) {
    if (turn_away(run, looks)) {
      open.insert(pair_of(run));
      continue;
    }
    if (moves && moves_in(run) && open.contains(pair_of(run))) continue;
    Step next = run.step;
    if (needs_store(run)) {
      if (!batch) {
        auto begun = store_->begin();
        if (!begun) return begun.failure();
        batch.emplace(std::move(*begun));
      }
      auto committed = commit_run(*batch, run, now);
      if (!committed) return committed.failure();
      next = *committed;
      outbox = outbox || std::any_of(run.effects.begin(), run.effects.end(), is_store_effect);
      steps.emplace_back(&run, next);
    } else if (run.step == Step::fresh) {
      run.step = next = step_after_store(run);
    }
    if (next == Step::fresh || (moves && next == Step::apply)) open.insert(pair_of(run));
  }
  if (!batch) return {};
  if (auto committed = batch->commit(); !committed) return committed;
  if (outbox && options_.outbox_wake) options_.outbox_wake();
  store_look_ms_ = 0;  // there may be new runs that are due
  groups_->look_again();
  for (const auto& [run, step] : steps) run->step = step;
  return {};
}

Outcome<Dispatcher::Step> Dispatcher::commit_run(Batch& batch, Run& run, WallMs now) {
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  if (run.step == Step::finish || (run.stored_id != 0 && run.status == RunStatus::skipped)) {
    auto finished = batch.finish(run.stored_id, now);
    if (!finished) return finished.failure();
    return Step::done;
  }
  if (run.spool_token != 0 && run.status == RunStatus::skipped) return Step::done;  // its trigger is gone
  const std::string event_id = event_id_of(run);
  const std::string trigger = trigger_of(run);
  if (run.stored_id == 0 && run.duplicate && !trigger.empty()) {
    auto moved = batch.was_moved(event_id, trigger);
    if (!moved) return moved.failure();
    if (*moved) {
      run.moved = true;
      run.effects.clear();
      return Step::done;
    }
  }
  if (run.status != RunStatus::ok && run.status != RunStatus::skipped) return commit_failed(batch, run, spec, now);
  if (std::any_of(run.effects.begin(), run.effects.end(), is_store_effect)) {
    const RunRef ref{event_id, run.seq.value, trigger, run.from};
    auto added = batch.add_effects(ref, run.effects, now);
    if (!added && added.failure().code == Errc::invalid_argument) {
      refuse(run, added.failure().text, false);
      return Step::fresh;
    }
    if (!added) return added.failure();
  }
  const Step next = step_after_store(run);
  if (next == Step::apply || run.stored_id == 0) return next;
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

/// The name of the trigger, also of one that is gone if the run has left the ring.
std::string Dispatcher::trigger_of(const Run& run) {
  if (const auto stored = in_hand_.find(run.stored_id); stored != in_hand_.end()) return stored->second.trigger;
  const auto spooled = run.spool_token != 0 ? spooled_of(run.spool_token) : std::nullopt;
  if (spooled) return spooled->name();
  const TriggerSpec* const spec = registry_->find_slot(run.trigger_slot);
  return spec != nullptr ? spec->name : std::string{};
}

bool Dispatcher::is_given_up(const Run& run, const TriggerSpec* spec) {
  if (run.give_up || (spec == nullptr && !run.carried)) return true;
  return !run.free_of_charge && run.attempt >= (spec != nullptr ? spec->retry_attempts : TriggerSpec{}.retry_attempts);
}

Outcome<Dispatcher::Step> Dispatcher::commit_failed(Batch& batch, Run& run, const TriggerSpec* spec, WallMs now) {
  const bool give_up = is_given_up(run, spec);
  const std::uint32_t attempts = run.free_of_charge ? run.attempt - 1 : run.attempt;
  const WallMs next = now + run.delay_ms.value_or(backoff_ms(spec != nullptr ? *spec : TriggerSpec{}, run.attempt, random_));
  const std::string left = run.carried ? encode(run.effects) : std::string{};
  if (run.stored_id != 0) {
    const RunFailure failure{attempts, next, run.error, run.traceback, left, run.duplicate};
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
  moved.effects = left;
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

/// D2 and D3. What is refused waits in the store, and behind it what is left of the later runs of its pair.
void Dispatcher::apply_runs(const std::vector<UnwrittenChannel>& unwritten) {
  std::set<Pair> refused;
  for (Run& run : runs_) {
    if (run.step != Step::apply) continue;
    if (const UnwrittenChannel* const channel = channel_of(run.effects, unwritten)) {
      run.free_of_charge = true;
      run.delay_ms = kLogRetryMs;
      leave(run, std::move(run.effects), channel->failure.text);
    } else if (run.stored_id == 0 && refused.contains(pair_of(run))) {
      run.carried = true;
      run.effects = effects_left(run.effects, 0);
      hold(run);
    } else if (auto refusal = apply_effects(*cache_, run.effects, run.from)) {
      run.free_of_charge = refusal->for_room;
      leave(run, std::move(refusal->left), std::move(refusal->text));
    } else {
      run.step = run.stored_id != 0 ? Step::finish : Step::done;
      continue;
    }
    refused.insert(pair_of(run));
  }
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
