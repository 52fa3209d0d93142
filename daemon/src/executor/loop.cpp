#include "executor/loop.hpp"

#include <algorithm>

#include <unistd.h>

#include "core/log.hpp"

namespace cachee::daemon {
namespace {

constexpr int kEventsPerRound = 64;
constexpr int kOrdersPerRound = 64;
constexpr std::uint64_t kEventsAhead = 2;  // whose memory is asked for while one is handled
constexpr unsigned kSpinRounds = 1000;  // after the last work, before an adaptive executor sleeps
// Of spinning, some 15 us: what is not used for longer is on its way out of the caches, and a rehearsal is in the way of
// one event in twenty-five for half of its time.
constexpr unsigned kRehearsalRounds = 200;
// An order that arrives in the moment of falling asleep rings no bell that is heard.
constexpr std::chrono::milliseconds kSleepMax{20};
constexpr int kExitBrokenChannel = 4;
constexpr std::int64_t kNsPerUs = 1000;

TimeNs monotonic_ns() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

std::int64_t wall_us() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

[[noreturn]] void leave(const char* why) {
  log::error("executor ends: {}", why);
  _exit(kExitBrokenChannel);
}

}  // namespace

ExecutorLoop::ExecutorLoop(const ExecutorOptions& options, Cache cache, Lane lane,
                           std::unique_ptr<Channel> inbox, std::unique_ptr<Channel> outbox)
    : options_{options},
      cache_{std::move(cache)},
      reader_{cache_},
      lane_{std::move(lane)},
      inbox_{std::move(inbox)},
      outbox_{std::move(outbox)},
      cache_reader_{cache_},
      runtime_{cache_reader_},
      position_{options.start_position} {}

void ExecutorLoop::run() {
  refresh();
  // The keys that wait for a retry are in the inbox before we start: none of theirs may run first.
  while (take_orders()) {
  }
  for (unsigned idle_rounds = 0;;) {
    if (step()) {
      idle_rounds = 0;
    } else if (++idle_rounds; options_.spin) {
      relax();
      if (idle_rounds % kRehearsalRounds == 0) rehearse();
    } else if (idle_rounds < kSpinRounds) {
      relax();
    } else {
      lane_.wait_for_event(position_, kSleepMax);
    }
  }
}

bool ExecutorLoop::step() {
  const bool ordered = take_orders();
  return handle_events() || ordered;
}

/// What handling an event does, up to what others see.
void ExecutorLoop::rehearse() {
  if (!rehearsal_) rehearsal_.emplace(runtime_);  // at the first idle moment: a new executor is ready at once
  look_at_clocks();
  const EventData& event = rehearsal_->event();
  matcher_.match(event.kind, event.key, [](std::uint32_t) {});
  rehearsal_->run(now_);
}

void ExecutorLoop::look_at_clocks() noexcept {
  now_ = monotonic_ns();
  wall_ahead_us_ = wall_us() - now_ / kNsPerUs;
}

// Triggers

void ExecutorLoop::refresh_if_changed() {
  if (trigger_generation(cache_) != table_.generation) refresh();
}

void ExecutorLoop::refresh() {
  auto table = read_triggers(cache_);
  if (!table) return;  // the old one stands; the supervisor reports a damaged table
  table_ = std::move(*table);
  matcher_ = TriggerMatcher{table_};
  std::erase_if(scripts_, [&](const auto& entry) {
    return std::none_of(table_.triggers.begin(), table_.triggers.end(),
                        [&](const TriggerSpec& spec) { return spec.id == entry.first; });
  });
  scripts_of_table_.assign(table_.triggers.size(), nullptr);
  look_at_clocks();
}

/// Compiled at the first event that needs it: a new executor is ready at once.
ExecutorLoop::Loaded& ExecutorLoop::script_of(const TriggerSpec& spec) {
  const auto index = static_cast<std::size_t>(&spec - table_.triggers.data());
  if (scripts_of_table_[index] == nullptr) {
    const auto [at, added] = scripts_.try_emplace(spec.id);
    if (added) {
      Runtime::Loaded made = runtime_.load(spec);
      at->second = {std::move(made.script), std::move(made.error)};
      look_at_clocks();  // compiling is no part of a run
    }
    scripts_of_table_[index] = &at->second;
  }
  return *scripts_of_table_[index];
}

// Orders

bool ExecutorLoop::take_orders() {
  int taken = 0;
  for (; taken < kOrdersPerRound; ++taken) {
    const auto message = inbox_->read();
    if (!message) break;
    const auto order = decode_order(*message);
    if (!order) leave("an order cannot be read");
    obey(*order);
  }
  if (inbox_->broken()) leave("the inbox is damaged");
  return taken > 0;
}

void ExecutorLoop::obey(const Order& order) {
  const Pair pair{order.key_hash, order.trigger_slot};
  switch (order.kind) {
    case Order::Kind::block:
      blocked_.try_emplace(pair, 0);
      return;
    case Order::Kind::unblock: {
      const auto at = blocked_.find(pair);
      if (at != blocked_.end() && at->second <= order.reports_seen) blocked_.erase(at);
      return;
    }
    case Order::Kind::run_stored:
      run_stored(order);
      return;
    case Order::Kind::run_spooled:
      run_spooled(order);
      return;
    case Order::Kind::test:
      run_test(order);
      return;
  }
}

void ExecutorLoop::run_stored(const Order& order) {
  refresh_if_changed();
  look_at_clocks();
  RunReport report;
  report.seq = EventSeq{order.event->seq};
  report.token = order.token;
  report.trigger_slot = order.trigger_slot;
  report.key_hash = order.key_hash;
  report.attempt = order.event->attempt;
  report.duplicate = order.event->duplicate;
  const TriggerSpec* const spec = find_trigger(order.trigger_slot);
  if (spec == nullptr) return send(report, false);
  report.trigger_id = spec->id;
  lane_.begin({report.seq, spec->slot, now_, order.token});
  execute(script_of(*spec), DataEvent{*order.event}, limits_of(*spec), report);
}

const TriggerSpec* ExecutorLoop::find_trigger(std::uint32_t slot) const {
  const auto spec = std::find_if(table_.triggers.begin(), table_.triggers.end(),
                                 [&](const TriggerSpec& other) { return other.slot == slot; });
  return spec == table_.triggers.end() ? nullptr : &*spec;
}

/// An event that left the ring for the disk: run in its turn, by the rules of the ring [XR-1].
void ExecutorLoop::run_spooled(const Order& order) {
  refresh_if_changed();
  look_at_clocks();
  RunReport report;
  report.seq = EventSeq{order.event->seq};
  report.token = order.token;
  report.trigger_slot = order.trigger_slot;
  report.key_hash = order.key_hash;
  report.attempt = order.event->attempt;
  report.duplicate = order.event->duplicate;
  report.lag_us = std::max<std::int64_t>(0, now_ / kNsPerUs + wall_ahead_us_ - order.event->timestamp_wall_us);
  const TriggerSpec* const spec = find_trigger(order.trigger_slot);
  if (spec == nullptr) return send(report, false);
  report.trigger_id = spec->id;
  if (spec->is_group) {
    report.status = RunStatus::handed;
    return send(report, false);
  }
  const Pair pair{order.key_hash, spec->slot};
  if (spec->paused || blocked_.contains(pair)) {
    blocked_[pair] = reports_ + 1;
    report.status = RunStatus::held;
    return send(report, false);
  }
  lane_.begin({report.seq, spec->slot, now_, order.token});
  if (execute(script_of(*spec), DataEvent{*order.event}, limits_of(*spec), report) == RunStatus::failed) {
    blocked_[pair] = reports_;
  }
}

void ExecutorLoop::run_test(const Order& order) {
  look_at_clocks();
  RunReport report;
  report.seq = EventSeq{order.event->seq};
  report.token = order.token;
  RunLimits limits = limits_of(*order.spec);
  limits.exact_steps = true;
  lane_.begin({report.seq, RunReport::kNoTriggerSlot, now_, order.token});
  Runtime::Loaded made = runtime_.load(*order.spec);
  const Loaded loaded{std::move(made.script), std::move(made.error)};
  look_at_clocks();  // compiling is no part of a run
  execute(loaded, DataEvent{*order.event}, limits, report);
}

// Events

bool ExecutorLoop::handle_events() {
  if (lane_.stopped()) return false;
  int handled = 0;
  for (; handled < kEventsPerRound; ++handled) {
    const auto event = reader_.at(EventSeq{position_});
    if (event.code() == Errc::would_block) break;
    if (handled == 0) look_at_clocks();
    if (event.code() == Errc::lapped) {
      // Released: everybody is done with it, and with all before the head.
      if (!advance(std::max(position_ + 1, reader_.head()))) break;
      continue;
    }
    const std::uint64_t position = position_;
    if (!advance(position + 1)) break;  // E1
    reader_.prefetch(EventSeq{position + kEventsAhead});
    if (!event) {
      report_damaged(position);
    } else if (event->key_hash % options_.lane_count == options_.lane && !event->acknowledged()) {
      handle(*event);
    }
  }
  return handled > 0;
}

/// Moves the claim; false when the supervisor has stopped or moved the lane meanwhile.
bool ExecutorLoop::advance(std::uint64_t to) {
  if (lane_.try_advance(position_, to)) {
    position_ = to;
    return true;
  }
  if (!lane_.stopped()) position_ = lane_.position();
  return false;
}

/// An event whose bytes make no sense has no key: one executor of all says so.
void ExecutorLoop::report_damaged(std::uint64_t position) {
  if (position % options_.lane_count != options_.lane) return;
  RunReport report;
  report.seq = EventSeq{position};
  report.error = "the event cannot be read: the segment is damaged there, run cachee fsck";
  send(report, false);
}

void ExecutorLoop::handle(const EventView& event) {
  refresh_if_changed();  // [XR-2] behind the event: the table is as new as its decision
  owed_.clear();
  matcher_.match_owed(event, table_.generation, [&](std::uint32_t index) { owed_.push_back(index); });
  RunReport report;
  report.seq = event.seq;
  report.key_hash = event.key_hash;
  report.attempt = event.attempts() + 1;
  report.duplicate = event.seq.value < options_.duplicate_before;
  report.lag_us =
      std::max<std::int64_t>(0, now_ / kNsPerUs + wall_ahead_us_ - event.timestamp_wall_us());
  if (owed_.empty()) return send(report, false);
  for (std::size_t i = 0; i < owed_.size(); ++i) {
    const TriggerSpec& spec = table_.triggers[owed_[i]];
    report.trigger_slot = spec.slot;
    report.trigger_id = spec.id;
    report.last = i + 1 == owed_.size();
    handle_for(event, spec, report);
  }
}

void ExecutorLoop::handle_for(const EventView& event, const TriggerSpec& spec, RunReport& report) {
  const Pair pair{event.key_hash, spec.slot};
  report.error = {};
  report.traceback = {};
  report.effects = {};
  report.steps = report.memory_peak = report.run_ns = 0;
  if (spec.is_group) {
    report.status = RunStatus::handed;
    return send(report, false);
  }
  if (spec.paused || (!blocked_.empty() && blocked_.contains(pair))) {
    blocked_[pair] = reports_ + 1;  // [XR-1]
    report.status = RunStatus::held;
    return send(report, false);
  }
  const ViewEvent source{event, reader_, report.attempt, report.duplicate};
  lane_.begin({event.seq, spec.slot, now_, 0});  // E3
  if (execute(script_of(spec), source, limits_of(spec), report) == RunStatus::failed) {
    blocked_[pair] = reports_;  // [XR-1]
  }
}

RunStatus ExecutorLoop::execute(const Loaded& loaded, const EventSource& source,
                                const RunLimits& limits, RunReport& report) {
  RunResult result;
  if (loaded.script) {
    // The last look at the clock was the end of the run before: a look for each run is enough.
    result = runtime_.run(*loaded.script, source, limits, now_);  // E4
    now_ += static_cast<TimeNs>(result.run_ns);
  } else {
    result.error = loaded.error;
  }
  report.status = result.ok ? RunStatus::ok : RunStatus::failed;
  report.error = result.error;
  report.traceback = result.traceback;
  report.steps = result.steps;
  report.memory_peak = result.memory_peak;
  report.run_ns = result.run_ns;
  report.effects = result.effects;
  const RunStatus status = report.status;
  send(report, true);
  return status;
}

void ExecutorLoop::send(const RunReport& report, bool ends_run) {
  ++reports_;
  bool written = outbox_->try_write_in_place(encoded_bytes(report), [&](char* at) { encode(report, at); });  // E5
  if (!written) {
    encode(report, message_);
    written = outbox_->try_write(message_);
  }
  if (ends_run) lane_.end();                          // E6
  if (written) return;
  if (!outbox_->write(message_, [] { return true; })) leave("the outbox is damaged");
  now_ = monotonic_ns();  // the wait is not part of the next run
}

}  // namespace cachee::daemon
