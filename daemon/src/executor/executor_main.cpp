#include "executor/executor_main.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <ctime>
#include <map>

#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/log.hpp"
#include "executor/channel.hpp"
#include "executor/jail.hpp"
#include "executor/messages.hpp"
#include "script/cache_reader.hpp"
#include "script/event_source.hpp"
#include "script/runtime.hpp"

namespace cachee::daemon {
namespace {

constexpr int kExitCannotBegin = 3;
constexpr int kEventsPerRound = 64;
constexpr int kOrdersPerRound = 64;
constexpr int kSpinRounds = 2000;        // of an adaptive executor before it sleeps
constexpr std::chrono::microseconds kSleepMax{5000};  // an order may come without a bell

TimeNs mono_ns() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }
std::int64_t wall_us() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

/// One executor. Pulls events of its lane, runs their triggers, reports each run.
class Loop {
 public:
  Loop(const ExecutorOptions& options, Cache cache, Lane lane, std::unique_ptr<Channel> inbox, std::unique_ptr<Channel> outbox)
      : options_{options}, cache_{std::move(cache)}, reader_{cache_}, lane_{std::move(lane)}, inbox_{std::move(inbox)},
        outbox_{std::move(outbox)}, cache_reader_{cache_}, runtime_{cache_reader_}, position_{options.start_position} {}

  [[noreturn]] void run() {
    lane_.resume(position_);
    refresh();
    for (int idle = 0;;) {
      const bool worked = take_orders() || handle_events();
      if (worked) {
        idle = 0;
      } else if (!options_.spin && ++idle > kSpinRounds) {
        lane_.wait_for_event(position_, kSleepMax);
        idle = 0;
      }
    }
  }

 private:
  struct Loaded {
    std::unique_ptr<Script> script{};
    std::string error{};
  };

  void refresh() {
    auto table = read_triggers(cache_);
    if (!table) return;  // the old one stands; the supervisor reports a damaged table
    table_ = std::move(*table);
    matcher_ = TriggerMatcher{table_};
    std::erase_if(scripts_, [&](const auto& entry) {
      return std::none_of(table_.triggers.begin(), table_.triggers.end(), [&](const auto& t) { return t.id == entry.first; });
    });
  }

  Loaded& script_of(const TriggerSpec& spec) {
    const auto [at, added] = scripts_.try_emplace(spec.id);
    if (added) {
      Runtime::Loaded loaded = runtime_.load(spec);
      at->second = {std::move(loaded.script), std::move(loaded.error)};
    }
    return at->second;
  }

  bool handle_events() {
    if (lane_.stopped()) return false;
    int handled = 0;
    for (; handled < kEventsPerRound; ++handled) {
      const auto event = reader_.at(EventSeq{position_});
      if (!event) {
        if (event.code() != Errc::lapped) break;
        advance(std::max(position_ + 1, reader_.head()));
        continue;
      }
      if (!advance(position_ + 1)) break;
      if (event->key_hash % options_.lane_count == options_.lane && !event->acknowledged()) handle(*event);
    }
    return handled > 0;
  }

  /// The claim comes first: what it covers may have been run if we are killed.
  bool advance(std::uint64_t to) {
    if (!lane_.try_advance(position_, to)) return false;
    position_ = to;
    return true;
  }

  void handle(const EventView& event) {
    refresh_if_changed();
    owed_.clear();
    matcher_.match(event.kind, event.key, [&](std::uint32_t index) {
      const std::uint64_t ahead = (event.generation - table_.triggers[index].since_generation) % kGenerationModulus;
      if (ahead < kGenerationModulus / 2) owed_.push_back(index);
    });
    RunReport report;
    report.seq = event.seq;
    report.key_hash = event.key_hash;
    report.attempt = event.attempts() + 1;
    report.duplicate = event.seq.value < options_.duplicate_before;
    if (owed_.empty()) return send(report);
    for (std::size_t i = 0; i < owed_.size(); ++i) {
      const TriggerSpec& spec = table_.triggers[owed_[i]];
      report.trigger_slot = spec.slot;
      report.trigger_id = spec.id;
      report.last = i + 1 == owed_.size();
      run_for(event, spec, report);
    }
  }

  void refresh_if_changed() {
    if (trigger_generation(cache_) != table_.generation) refresh();
  }

  void run_for(const EventView& event, const TriggerSpec& spec, RunReport report) {
    const std::pair pair{event.key_hash, spec.slot};
    if (spec.sample > 1 && event.seq.value % spec.sample != 0) return send(report);
    const auto blocked = blocked_.find(pair);
    if (spec.paused || blocked != blocked_.end()) {
      blocked_[pair] = event.seq.value + 1;
      report.status = RunStatus::held;
      return send(report);
    }
    const ViewEvent source{event, reader_, report.attempt, report.duplicate};
    report.lag_us = std::max<std::int64_t>(0, wall_us() - event.timestamp_wall_us());
    execute(script_of(spec), source, limits_of(spec), {event.seq, spec.slot, mono_ns(), 0}, report);
    if (last_status_ == RunStatus::failed) blocked_[pair] = event.seq.value + 1;
  }

  void execute(const Loaded& loaded, const EventSource& source, const RunLimits& limits, const Lane::Running& running, RunReport report) {
    if (!loaded.script) {
      report.status = last_status_ = RunStatus::failed;
      report.error = loaded.error;
      return send(report);
    }
    lane_.begin(running);
    const RunResult result = runtime_.run(*loaded.script, source, limits);
    report.status = last_status_ = result.ok ? RunStatus::ok : RunStatus::failed;
    report.error = result.error;
    report.traceback = result.traceback;
    report.steps = result.steps;
    report.memory_peak = result.memory_peak;
    report.run_ns = result.run_ns;
    report.effects = result.effects;
    // The report first: killed in between, the supervisor finds it and charges nothing.
    send(report);
    lane_.end();
  }

  void send(const RunReport& report) {
    encode(report, message_);
    if (!outbox_->write(message_, [] { return true; })) _exit(kExitCannotBegin);
  }

  bool take_orders() {
    int taken = 0;
    for (; taken < kOrdersPerRound; ++taken) {
      const auto message = inbox_->read();
      if (!message) break;
      const auto order = decode_order(*message);
      if (!order) _exit(kExitCannotBegin);
      obey(*order);
    }
    return taken > 0;
  }

  void obey(const Order& order) {
    const std::pair pair{order.key_hash, order.trigger_slot};
    switch (order.kind) {
      case Order::Kind::block: blocked_.try_emplace(pair, 0); break;
      case Order::Kind::unblock: {
        const auto at = blocked_.find(pair);
        if (at != blocked_.end() && at->second <= order.seen_end) blocked_.erase(at);
        break;
      }
      case Order::Kind::run_stored: return run_stored(order);
      case Order::Kind::test: return run_test(order);
    }
  }

  void run_stored(const Order& order) {
    refresh_if_changed();
    RunReport report;
    report.token = order.token;
    report.trigger_slot = order.trigger_slot;
    report.key_hash = order.key_hash;
    report.attempt = order.event->attempt;
    report.duplicate = order.event->duplicate;
    const auto spec = std::find_if(table_.triggers.begin(), table_.triggers.end(), [&](const auto& t) { return t.slot == order.trigger_slot; });
    if (spec == table_.triggers.end()) return send(report);
    report.trigger_id = spec->id;
    execute(script_of(*spec), DataEvent{*order.event}, limits_of(*spec), {EventSeq{order.event->seq}, spec->slot, mono_ns(), order.token}, report);
  }

  void run_test(const Order& order) {
    RunReport report;
    report.token = order.token;
    Runtime::Loaded made = runtime_.load(*order.spec);
    const Loaded loaded{std::move(made.script), std::move(made.error)};
    RunLimits limits = limits_of(*order.spec);
    limits.exact_steps = true;
    execute(loaded, DataEvent{*order.event}, limits, {EventSeq{}, RunReport::kNoTriggerSlot, mono_ns(), order.token}, report);
  }

  const ExecutorOptions options_;
  Cache cache_;
  EventReader reader_;
  Lane lane_;
  std::unique_ptr<Channel> inbox_;
  std::unique_ptr<Channel> outbox_;
  SegmentCacheReader cache_reader_;
  Runtime runtime_;
  std::uint64_t position_;
  TriggerTable table_{};
  TriggerMatcher matcher_{};
  std::map<std::uint64_t, Loaded> scripts_{};  // by trigger id
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> blocked_{};  // end of what was reported of the pair
  std::vector<std::uint32_t> owed_{};
  std::string message_{};
  RunStatus last_status_ = RunStatus::ok;
};

bool parse(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

int refuse(const std::string& why) {
  log::error("cannot begin: {}", why);
  return kExitCannotBegin;
}

}  // namespace

std::vector<std::string> executor_arguments(const ExecutorOptions& options, int parent_pid) {
  return {std::string{kExecutorArgument},
          options.segment,
          std::to_string(options.lane),
          std::to_string(options.lane_count),
          std::to_string(options.start_position),
          std::to_string(options.duplicate_before),
          options.spin ? "1" : "0",
          std::to_string(parent_pid)};
}

int executor_main(std::span<char* const> arguments) {
  // Goes with its supervisor, whatever happens to it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ExecutorOptions options;
  std::uint64_t numbers[6] = {};
  bool understood = arguments.size() == 8 && arguments[0] == kExecutorArgument;
  for (std::size_t i = 0; understood && i < 6; ++i) understood = parse(arguments[i + 2], numbers[i]);
  if (!understood) return refuse("an executor is started by cacheed, not by hand");
  options.segment = arguments[1];
  options.lane = static_cast<std::uint32_t>(numbers[0]);
  options.lane_count = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, numbers[1]));
  options.start_position = numbers[2];
  options.duplicate_before = numbers[3];
  options.spin = numbers[4] != 0;
  if (static_cast<std::uint64_t>(getppid()) != numbers[5]) return refuse("the supervisor is gone");
  log::set_process(fmt::format("executor {}", options.lane));
  tzset();  // the log's clock: its file cannot be read from inside the jail

  auto inbox = Channel::map(kInboxFd);
  auto outbox = Channel::map(kOutboxFd);
  if (!inbox || !outbox) return refuse("its channels are not there: an executor is started by cacheed, not by hand");
  OpenOptions open;
  open.name = options.segment;
  open.access = Access::read_only;
  auto cache = Cache::open(open);
  if (!cache) return refuse(fmt::format("segment {}: {}", options.segment, to_string(cache.error())));
  auto lane = Lane::open(*cache, options.lane);
  if (!lane) return refuse(fmt::format("lane {}: {}", options.lane, to_string(lane.error())));
  Loop loop{options, std::move(*cache), std::move(*lane), std::move(*inbox), std::move(*outbox)};
  if (auto jailed = enter_jail({kInboxFd, kOutboxFd}); !jailed) return refuse(jailed.failure().text);
  loop.run();
}

}  // namespace cachee::daemon
