// The dispatcher's answers to the control socket (TriggerAdmin).
#include <algorithm>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "events/answer.hpp"
#include "events/appliers.hpp"
#include "events/dispatcher.hpp"
#include "script/runtime.hpp"
#include "store/effect_rules.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kAnswerMax{30};
constexpr std::chrono::seconds kTestMargin{5};
constexpr std::chrono::seconds kChangeMax{5};  // a change of the registry waits for room in the ring
constexpr std::chrono::milliseconds kChangePause{5};
constexpr std::size_t kTraceRowsMax = 10000;

const char* name_of(EffectKind kind) noexcept {
  switch (kind) {
    case EffectKind::set: return "set";
    case EffectKind::del: return "del";
    case EffectKind::invalidate: return "invalidate";
    case EffectKind::incr: return "incr";
    case EffectKind::expire: return "expire";
    case EffectKind::log: return "log";
    case EffectKind::webhook: return "webhook";
    case EffectKind::warm: return "warm";
    case EffectKind::depends_on: return "depends_on";
    case EffectKind::metric: return "metric";
    case EffectKind::once: return "once";
  }
  return "unknown";
}

json to_json(const Effect& effect) {
  json out{{"kind", name_of(effect.kind)}};
  if (!effect.key.empty()) out[effect.kind == EffectKind::log ? "channel" : "key"] = effect.key;
  if (!effect.value.empty()) out["value"] = effect.value;
  if (!effect.url.empty()) out["url"] = effect.url;
  if (!effect.method.empty()) out["method"] = effect.method;
  if (effect.only_absent) out["nx"] = true;
  if (effect.only_present) out["xx"] = true;
  if (!effect.headers.empty()) out["headers"] = json(std::map<std::string, std::string>(effect.headers.begin(), effect.headers.end()));
  if (!effect.secret.empty()) out["signed"] = true;  // the secret itself is nobody's to see
  if (effect.timeout_ms != 0) out["timeout_ms"] = effect.timeout_ms;
  if (effect.ttl_ms) out["ttl_ms"] = *effect.ttl_ms;
  if (effect.cost) out["cost"] = *effect.cost;
  if (effect.kind == EffectKind::incr) out["delta"] = effect.delta;
  if (effect.kind == EffectKind::metric) out["amount"] = effect.amount;
  if (!effect.depends_on.empty()) out["depends_on"] = effect.depends_on;
  if (!effect.metadata.empty()) out["metadata"] = json(std::map<std::string, std::string>(effect.metadata.begin(), effect.metadata.end()));
  return out;
}

json to_json(const DeadLetter& letter) {
  json out{{"id", letter.id},           {"event", letter.event_id}, {"trigger", letter.trigger}, {"what", letter.what},
           {"attempts", letter.attempts}, {"error", letter.error},    {"wall_ms", letter.wall_ms}};
  if (!letter.url.empty()) out["url"] = letter.url;
  if (!letter.traceback.empty()) out["traceback"] = letter.traceback;
  if (letter.event) out["payload"] = to_json(*letter.event);
  if (!letter.body.empty()) out["body"] = letter.body;
  if (const auto left = decode_effects(letter.effects)) {
    for (const Effect& effect : *left) out["effects"].push_back(to_json(effect));
  }
  return out;
}

/// Text that may hold bytes that are no UTF-8.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

template <class F>
auto Dispatcher::ask(F work) -> std::invoke_result_t<F> {
  using Answer = std::invoke_result_t<F>;
  auto task = std::make_shared<std::packaged_task<Answer()>>(std::move(work));
  auto answer = task->get_future();
  post([task = std::move(task)] { (*task)(); });  // the only owner: a task that is thrown away breaks its promise
  return answer_within(answer, kAnswerMax).value_or(Answer{no_answer()});
}

Outcome<void> Dispatcher::change_registry(std::function<Outcome<void>()> make) {
  auto change = std::make_shared<Change>();
  change->make = std::move(make);
  auto answer = change->answer.get_future();
  post([this, change = std::move(change)] {
    change->until = std::chrono::steady_clock::now() + kChangeMax;
    changes_.push_back(std::move(*change));
    changes_at_ = {};
  });
  return answer_within(answer, kAnswerMax).value_or(no_answer());
}

/// Each by itself: what needs no room does not wait for what does.
void Dispatcher::make_changes() {
  if (changes_.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < changes_at_) return;
  changes_at_ = now + kChangePause;
  std::erase_if(changes_, [&](Change& change) {
    auto made = change.make();
    if (!made && made.failure().code == Errc::timed_out && now < change.until) return false;
    change.answer.set_value(std::move(made));
    return true;
  });
}

void Dispatcher::refuse_changes() {
  for (Change& change : changes_) change.answer.set_value(Failure{Errc::no_supervisor, "cacheed is being stopped"});
  changes_.clear();
}

Outcome<void> Dispatcher::register_triggers(std::vector<TriggerSpec> specs) {
  for (const TriggerSpec& spec : specs) {
    if (spec.is_group) continue;
    if (auto wrong = Runtime::check(spec.name, spec.source)) {
      return Failure{Errc::invalid_argument, specs.size() > 1 ? fmt::format("trigger {}: {}", spec.name, *wrong) : *wrong};
    }
  }
  return change_registry([this, specs = std::move(specs)]() -> Outcome<void> {
    std::vector<std::string_view> fresh;
    for (const TriggerSpec& spec : specs) {
      if (registry_->find(spec.name) == nullptr) fresh.push_back(spec.name);
    }
    auto put = registry_->put(specs);
    if (!put) return put;
    // A new trigger may have the slot of a removed one, but not its figures.
    for (const std::string_view name : fresh) {
      if (const TriggerSpec* const spec = registry_->find(name)) figures_.erase(spec->slot);
    }
    for (Worker& worker : workers_) {
      if (worker.process) worker.process->kick();
    }
    return put;
  });
}

std::vector<TriggerSpec> Dispatcher::list_triggers() {
  auto listed = ask([this]() -> Outcome<std::vector<TriggerSpec>> { return registry_->table().triggers; });
  return listed ? std::move(*listed) : std::vector<TriggerSpec>{};
}

Outcome<TriggerSpec> Dispatcher::find_trigger(std::string_view name) {
  return ask([this, name = std::string{name}]() -> Outcome<TriggerSpec> {
    const TriggerSpec* const spec = registry_->find(name);
    if (spec == nullptr) return Failure{Errc::not_found, fmt::format("no such trigger: {}", name)};
    return *spec;
  });
}

Outcome<void> Dispatcher::remove_trigger(std::string_view name) {
  return change_registry([this, name = std::string{name}] {
    store_look_ms_ = 0;  // its stored runs have nobody left to be run for
    groups_->look_for_removed();
    return registry_->remove(name);
  });
}

Outcome<void> Dispatcher::enable_trigger(std::string_view name, bool enabled) {
  return change_registry([this, name = std::string{name}, enabled] { return registry_->set_enabled(name, enabled); });
}

Outcome<void> Dispatcher::pause_trigger(std::string_view name, bool paused) {
  return change_registry([this, name = std::string{name}, paused] {
    store_look_ms_ = 0;
    groups_->look_again();
    return registry_->set_paused(name, paused);
  });
}

namespace {

double mean_of(const Histogram& histogram) {
  return histogram.count() == 0 ? 0.0 : static_cast<double>(histogram.sum()) / static_cast<double>(histogram.count());
}

}  // namespace

Outcome<std::vector<TriggerRuns>> Dispatcher::trigger_runs() {
  return ask([this]() -> Outcome<std::vector<TriggerRuns>> {
    std::vector<TriggerRuns> rows;
    for (const TriggerSpec& spec : registry_->table().triggers) {
      const auto figures = figures_.find(spec.slot);
      const TriggerFigures& f = figures != figures_.end() ? figures->second : TriggerFigures{};
      rows.push_back({spec.name, f.ok, f.failed, f.retried, f.dead, f.run_ns, f.lag_us, f.steps, f.memory_bytes, f.metrics});
    }
    return rows;
  });
}

Outcome<json> Dispatcher::slow_runs(std::size_t count_max) {
  return ask([this, count_max]() -> Outcome<json> {
    json rows = json::array();
    for (const SlowRun& run : slow_log_.runs()) {
      if (rows.size() == count_max) break;
      rows.push_back({{"id", run.id}, {"wall_ms", run.wall_ms}, {"run_us", run.run_ns / 1000}, {"steps", run.steps},
                      {"trigger", run.trigger}, {"event", run.event}, {"key", run.key}, {"event_id", run.event_id}});
    }
    return rows;
  });
}

Outcome<void> Dispatcher::clear_slow_runs() {
  return ask([this]() -> Outcome<void> {
    slow_log_.clear();
    return {};
  });
}

void Dispatcher::set_slow_log(std::int64_t over_ns, std::size_t runs_max) {
  post([this, over_ns, runs_max] { slow_log_.set_rules(over_ns, runs_max); });
}

Outcome<json> Dispatcher::trigger_stats(std::string_view name) {
  return ask([this, name = std::string{name}]() -> Outcome<json> {
    const TriggerSpec* const spec = registry_->find(name);
    if (spec == nullptr) return Failure{Errc::not_found, fmt::format("no such trigger: {}", name)};
    const TriggerFigures& f = figures_[spec->slot];
    const Counters counters = keeper_.counters(spec->slot);
    json out{{"name", spec->name},
             {"emitted", counters.emitted},
             {"acknowledged", counters.acknowledged},
             {"since_registration", json::array({"emitted", "acknowledged"})},
             {"others_since_ms", started_wall_ms_},
             {"fired", f.ok + f.failed},
             {"ok", f.ok},
             {"failed", f.failed},
             {"retried", f.retried},
             {"dead", f.dead},
             {"held", f.held},
             {"steps", f.steps.sum()},
             {"steps_p50", f.steps.percentile(0.5)},
             {"steps_p99", f.steps.percentile(0.99)},
             {"steps_max", f.steps.max()},
             {"memory_bytes_p50", f.memory_bytes.percentile(0.5)},
             {"memory_bytes_p99", f.memory_bytes.percentile(0.99)},
             {"memory_peak_bytes", f.memory_bytes.max()},
             {"run_us_mean", mean_of(f.run_ns) / 1000},
             {"run_us_p50", static_cast<double>(f.run_ns.percentile(0.5)) / 1000},
             {"run_us_p99", static_cast<double>(f.run_ns.percentile(0.99)) / 1000},
             {"run_us_max", static_cast<double>(f.run_ns.max()) / 1000},
             {"lag_us_mean", mean_of(f.lag_us)},
             {"lag_us_p50", f.lag_us.percentile(0.5)},
             {"lag_us_p99", f.lag_us.percentile(0.99)},
             {"lag_us_max", f.lag_us.max()},
             {"last_error", f.last_error}};
    for (const auto& [metric, sum] : f.metrics) out["metric." + metric] = sum;
    return out;
  });
}

/// Why a run with these effects would fail, by the checks of D1.
std::optional<std::string> Dispatcher::objection_to(const std::vector<Effect>& effects, const TriggerSpec& spec, const Provenance& from) const {
  if (is_too_deep(effects, from.depth, spec.depth_max)) return too_deep_text(spec, from.chain);
  if (auto objection = Examiner{*cache_, value_bytes_max_, has_dependencies(effects)}.look_at(effects)) return std::move(objection->text);
  return check_effects(effects);
}

void Dispatcher::answer_test(const RunReport& report) {
  const auto at = tests_.find(report.token);
  if (at == tests_.end()) return;
  json out{{"ok", report.status == RunStatus::ok},
           {"microseconds", static_cast<double>(report.run_ns) / 1000},
           {"steps", report.steps},
           {"memory_bytes", report.memory_peak},
           {"matches", at->second.would_run},
           {"effects", json::array()}};
  if (!report.error.empty()) out["error"] = std::string{report.error};
  if (!report.traceback.empty()) out["traceback"] = std::string{report.traceback};
  if (const auto effects = decode_effects(report.effects); effects && !report.effects.empty()) {
    for (const Effect& effect : *effects) out["effects"].push_back(to_json(effect));
    if (auto objection = objection_to(*effects, at->second.spec, at->second.from)) {
      out["ok"] = false;
      out["error"] = std::move(*objection);
    }
  }
  at->second.answer.set_value(dump(out));
  tests_.erase(at);
}

namespace {

/// The kind that a tested event has when it does not say: the first one that the trigger is for.
EventKind first_kind(EventMask events) noexcept {
  for (const EventKind kind : {EventKind::write, EventKind::del, EventKind::expire, EventKind::evict, EventKind::read}) {
    if ((events & event_bit(kind)) != 0) return kind;
  }
  return EventKind::none;
}

}  // namespace

Outcome<std::string> Dispatcher::test(const TriggerSpec& spec, std::string_view event_json) {
  EventData event;
  try {
    event = event_from_json(event_json);
  } catch (const std::exception& error) {
    return Failure{Errc::invalid_argument, fmt::format("the event: {}", error.what())};
  }
  if (event.kind == EventKind::none) event.kind = first_kind(spec.events);
  auto promise = std::make_shared<std::promise<std::string>>();
  auto answer = promise->get_future();
  const auto sent = ask([this, spec, event, promise = std::move(promise)]() -> Outcome<void> {
    const auto at = std::find_if(workers_.begin(), workers_.end(), [](const Worker& w) { return w.process != nullptr; });
    if (at == workers_.end()) return Failure{Errc::busy, "no executor runs right now: try again"};
    const std::uint64_t token = kTestTokens + next_test_++;
    if (!at->process->test(token, spec, event)) return Failure{Errc::busy, "the executor is busy: try again"};
    tests_.emplace(token, Test{at->lane, std::move(*promise), spec, next_provenance(event.provenance, event.seq + 1),
                               registry_->who_would_run(event.kind, event.key)});
    return {};
  });
  if (!sent) return sent.failure();
  auto text = answer_within(answer, std::chrono::milliseconds{spec.timeout_ms} + kTestMargin);
  if (!text) return no_answer();
  if (!text->starts_with('{')) return Failure{Errc::timed_out, *std::move(text)};
  return *std::move(text);
}

Outcome<std::string> Dispatcher::test_trigger(std::string_view name, std::string_view event_json) {
  auto spec = find_trigger(name);
  if (!spec) return spec.failure();
  return test(*spec, event_json);
}

Outcome<std::string> Dispatcher::test_source(std::string_view source, std::string_view event_json) {
  TriggerSpec spec;
  spec.name = "test";
  spec.source = source;
  if (auto wrong = Runtime::check(spec.name, spec.source)) return Failure{Errc::invalid_argument, *wrong};
  return test(spec, event_json);
}

Outcome<json> Dispatcher::list_dead_letters(std::size_t count_max) {
  return ask([this, count_max]() -> Outcome<json> {
    auto letters = store_->list_dead(count_max);
    if (!letters) return letters.failure();
    json out = json::array();
    for (const DeadLetter& letter : *letters) out.push_back(to_json(letter));
    return out;
  });
}

Outcome<json> Dispatcher::show_dead_letter(std::string_view id) {
  return ask([this, id = std::string{id}]() -> Outcome<json> {
    auto letter = store_->find_dead(id);
    if (!letter) return letter.failure();
    return to_json(*letter);
  });
}

/// New ring events of pairs that have runs in the store wait behind them.
void Dispatcher::block_stored_pairs() {
  const auto lanes = store_->blocked_lanes();
  if (!lanes) return;
  for (const BlockedLane& blocked : *lanes) {
    const TriggerSpec* const spec = registry_->find(blocked.trigger);
    Worker& worker = worker_of(blocked.key_hash);
    if (spec == nullptr || !worker.process) continue;
    if (worker.held.try_emplace({blocked.key_hash, spec->slot}, 0).second) worker.process->block(blocked.key_hash, spec->slot);
  }
}

Outcome<std::uint64_t> Dispatcher::replay_dead_letters(std::optional<std::string_view> id) {
  return ask([this, id = id ? std::optional{std::string{*id}} : std::nullopt]() -> Outcome<std::uint64_t> {
    auto replayed = store_->replay_dead(id ? std::optional<std::string_view>{*id} : std::nullopt, wall_ms());
    if (!replayed) return replayed;
    block_stored_pairs();
    store_look_ms_ = 0;
    groups_->look_again();
    groups_->look_for_removed();
    if (options_.outbox_wake) options_.outbox_wake();
    return replayed;
  });
}

Outcome<std::uint64_t> Dispatcher::purge_dead_letters(std::optional<std::string_view> id) {
  return ask([this, id = id ? std::optional{std::string{*id}} : std::nullopt]() -> Outcome<std::uint64_t> {
    return store_->purge_dead(id ? std::optional<std::string_view>{*id} : std::nullopt);
  });
}

Outcome<json> Dispatcher::list_outbox(std::size_t count_max) {
  return ask([this, count_max]() -> Outcome<json> {
    auto rows = store_->list_outbox(count_max);
    if (!rows) return rows.failure();
    json out = json::array();
    for (const OutboxRow& row : *rows) {
      out.push_back({{"id", row.id}, {"event", row.event_id}, {"trigger", row.trigger},
                     {"kind", row.kind == OutboxKind::warm ? "warm" : "webhook"}, {"method", row.method}, {"url", row.url},
                     {"attempts", row.attempts}, {"next_attempt_wall_ms", row.next_attempt_wall_ms},
                     {"last_status", row.last_status}, {"last_error", row.last_error}});
    }
    return out;
  });
}

/// What is known of a chain, in the order of its events: runs that were handled (the last ones; of
/// those that wrote keys or came of a handler), events in the ring and the spool, runs that wait, dead
/// letters.
Outcome<json> Dispatcher::trace_chain(std::string_view chain) {
  return ask([this, chain = std::string{chain}]() -> Outcome<json> {
    std::multimap<std::uint64_t, json> steps;  // by number of the event
    const auto add_step = [&](const std::string& id, std::uint64_t number, const Provenance& from, EventKind kind,
                              const std::string& key, const char* where, const std::string& trigger) {
      if (id != chain && (from.chain == 0 || reader_.event_id(from.chain) != chain)) return;
      steps.emplace(number, json{{"event", id}, {"where", where}, {"trigger", trigger}, {"key", key},
                                 {"type", to_string(kind)}, {"depth", from.depth},
                                 {"parent", from.parent == 0 ? "" : reader_.event_id(from.parent)}});
    };
    const auto add = [&](const EventData& event, const char* where, const std::string& trigger) {
      add_step(event.id, event.seq + 1, event.provenance, event.kind, event.key, where, trigger);
    };
    for (const TraceStep& step : trace_) {
      add_step(reader_.event_id(step.number), step.number, step.of_event, step.kind, step.key, step.where, step.trigger);
    }
    for (std::uint64_t p = base_, n = 0; n < kTraceRowsMax; ++p, ++n) {
      const auto event = reader_.at(EventSeq{p});
      if (!event) break;
      if (p - base_ < positions_.size() && positions_[p - base_].done) continue;  // it is elsewhere
      add_step(id_of(EventSeq{p}), p + 1, event->provenance(), event->kind, std::string{event->key}, "ring", "");
    }
    for (const Spooled& spooled : spooled_) {
      for (std::size_t i = 0; i < spooled.states.size(); ++i) {
        const auto state = spooled.states[i];
        if (state == Spooled::State::over || state == Spooled::State::moved) continue;
        add(spooled.record.event, "spool", spooled.record.triggers[i]);
      }
    }
    const auto waiting = store_->list_runs(kTraceRowsMax);
    if (!waiting) return waiting.failure();
    for (const StoredRun& run : *waiting) {
      const auto event = store_->run_event(run.id);
      if (event && *event) add(**event, "retry", run.trigger);
    }
    const auto letters = store_->list_dead(kTraceRowsMax);
    if (!letters) return letters.failure();
    for (const DeadLetter& letter : *letters) {
      if (letter.what != "event") continue;
      const auto whole = store_->find_dead(letter.id);
      if (whole && whole->event) add(*whole->event, "dead", letter.trigger);
    }
    if (steps.empty()) return Failure{Errc::not_found, fmt::format("nothing is known of chain {}", chain)};
    json out = json::array();
    for (auto& [number, step] : steps) out.push_back(std::move(step));
    return out;
  });
}

/// Runs of a trigger that the store took from events which the ring still holds as not handled. A
/// supervisor that died between D3 and D4 leaves such: they come again and are found then [DP-1], and
/// until then only the ledger knows them.
Outcome<std::uint64_t> Dispatcher::moved_of_unhandled(const TriggerSpec& spec) {
  auto batch = store_->begin();
  if (!batch) return batch.failure();
  std::uint64_t moved = 0;
  for (std::uint64_t p = base_;; ++p) {
    const auto event = reader_.at(EventSeq{p});
    if (!event) return moved;
    if (p - base_ < positions_.size() && positions_[p - base_].done) continue;
    bool owed = false;
    registry_->match(*event, [&](const TriggerSpec& owner) { owed = owed || owner.slot == spec.slot; });
    if (!owed) continue;
    const auto taken = batch->was_moved(id_of(EventSeq{p}), spec.name);
    if (!taken) return taken.failure();
    moved += *taken ? 1 : 0;
  }
}

Outcome<std::vector<TriggerAccount>> Dispatcher::account() {
  return ask([this]() -> Outcome<std::vector<TriggerAccount>> {
    // Pairs that the ring still holds: released ones are in the counters already.
    std::map<std::uint32_t, Counters> in_ring;
    std::map<std::uint32_t, std::uint64_t> moved_of_handled;
    for (std::uint64_t p = base_;; ++p) {
      const auto event = reader_.at(EventSeq{p});
      if (!event) break;
      const Position* const position = p - base_ < positions_.size() ? &positions_[p - base_] : nullptr;
      const bool done = position != nullptr && position->done;
      if (!done) registry_->match(*event, [&](const TriggerSpec& spec) { ++in_ring[spec.slot].emitted; });
      if (position == nullptr) continue;
      for (const auto& delta : position->deltas) {
        Counters& counters = in_ring[delta.trigger_slot];
        counters.emitted += done ? delta.add.emitted : 0;
        counters.moved += delta.add.moved;
        if (done) moved_of_handled[delta.trigger_slot] += delta.add.moved;
        counters.shed += delta.add.shed;
      }
    }
    // Committed to the store, but kept from being settled by a D1' that it did not take.
    for (const Run& run : runs_) {
      if (run.moved && run.of_ring() && run.step == Step::done) ++in_ring[run.trigger_slot].moved;
    }
    std::vector<TriggerAccount> rows;
    for (const TriggerSpec& spec : registry_->table().triggers) {
      const auto stored = store_->account(spec.name);
      if (!stored) return stored.failure();
      const Counters counters = keeper_.counters(spec.slot);
      TriggerAccount row;
      row.name = spec.name;
      Counters& here = in_ring[spec.slot];
      row.emitted = counters.emitted + here.emitted;
      row.acknowledged = counters.acknowledged + stored->acknowledged + stored->purged;
      row.retry = stored->retry;
      row.dead = stored->dead;
      row.shed = counters.shed + here.shed;
      row.spooled = spooled_of_trigger(spec.name);
      if (counters.moved + here.moved < stored->moved_in + row.spooled) {
        const auto unhandled = moved_of_unhandled(spec);
        if (!unhandled) return unhandled.failure();
        here.moved = moved_of_handled[spec.slot] + *unhandled;
      }
      // What left the ring for the disk, by the segment's count, must be what the disk has or had of it: if it is
      // less, or more, the sum is as well.
      row.in_flight = here.emitted - here.moved - here.shed;
      rows.push_back(std::move(row));
    }
    return rows;
  });
}

Outcome<std::string> Dispatcher::log_path(std::string_view channel) {
  std::string path = LogWriter::path(options_.store.directory, channel);
  if (path.empty()) return Failure{Errc::invalid_argument, fmt::format("\"{}\" is no channel: use A-Z a-z 0-9 _ . -, no dot in front, at most {} bytes", channel, kEffectNameBytesMax)};
  return path;
}

Outcome<json> Dispatcher::log_info(std::string_view channel) {
  auto path = log_path(channel);
  if (!path) return path.failure();
  return ask([this, path = *std::move(path), channel = std::string{channel}]() -> Outcome<json> {
    const LogFile settled = log_->settled(channel);
    return json{{"path", path}, {"settled_bytes", settled.settled_bytes}, {"chain", settled.chain}};
  });
}

json Dispatcher::server_stats() {
  auto stats = ask([this]() -> Outcome<json> {
    std::uint64_t ok = 0;
    std::uint64_t failed = 0;
    std::uint64_t dead = 0;
    for (const auto& [slot, f] : figures_) {
      ok += f.ok;
      failed += f.failed;
      dead += f.dead;
    }
    std::uint64_t executors = 0;
    for (const Worker& worker : workers_) executors += worker.process ? 1 : 0;
    return json{{"executors", executors},
                {"ring_depth", reader_.tail() - std::min(reader_.tail(), reader_.head())},
                {"runs_ok", ok},
                {"runs_failed", failed},
                {"dead_letters", dead},
                {"stored_runs_in_hand", running_.size()},
                {"runs_set_aside", set_aside_},
                {"spool_events", spool_->end() - cursor_},
                {"spool_bytes", spool_->bytes()},
                {"spool_lost", spool_->lost()},
                {"events_shed", shed_since_start_},
                {"pinned_bytes", pinned_units_ * 64},
                {"log_lines", log_->counters().lines},
                {"log_syncs", log_->counters().syncs},
                {"log_rotations", log_->counters().rotations}};
  });
  return stats ? *stats : json::object();
}

}  // namespace cachee::daemon
