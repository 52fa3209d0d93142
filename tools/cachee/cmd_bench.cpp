// bench: what this machine does, measured through the same library as any client. Closed loop: a
// thread starts its next operation when the last one is done, and each is timed by one clock read.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "command.hpp"
#include "histogram.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWarmUp{100};
constexpr std::chrono::milliseconds kStopPoll{20};
constexpr std::chrono::milliseconds kAcknowledgeTimeout{5000};
constexpr std::uint64_t kRecordOverheadBytes = 256;
constexpr double kFreeShareMax = 0.8;  // of the free memory that a benchmark may fill

struct BenchOptions {
  std::vector<std::string> workloads{};
  std::uint64_t keys = 10000;
  std::string value_bytes = "100";
  double seconds = 2;
  unsigned threads = 1;
  unsigned write_percent = 10;
};

struct Tally {
  Histogram latency_ns{};
  std::uint64_t failed = 0;
  std::optional<Error> first_error{};

  void merge(const Tally& other) {
    latency_ns.merge(other.latency_ns);
    failed += other.failed;
    if (!first_error) first_error = other.first_error;
  }
  void fail(const Error& error) {
    ++failed;
    if (!first_error) first_error = error;
  }
};

/// The keys of one benchmark; they are gone when it ends.
class BenchKeys {
 public:
  BenchKeys(Cache& cache, std::uint64_t count) : cache_{cache} {
    names_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) names_.push_back(fmt::format("{}{}", prefix(), i));
  }
  BenchKeys(const BenchKeys&) = delete;
  BenchKeys& operator=(const BenchKeys&) = delete;
  ~BenchKeys() {
    for (const auto& name : names_) static_cast<void>(cache_.erase(name));
  }

  [[nodiscard]] static std::string prefix() { return fmt::format("cachee-bench:{}:", getpid()); }
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  Cache& cache_;
  std::vector<std::string> names_{};
};

/// A trigger that does nothing, for as long as this lives.
class BenchTrigger {
 public:
  explicit BenchTrigger(Supervisor& supervisor)
      : supervisor_{supervisor}, name_{fmt::format("cachee-bench-{}", getpid())} {
    static_cast<void>(supervisor_.require(
        {"TRIGGER", "REGISTER", BenchKeys::prefix() + "*", "ON_WRITE", "NAME", name_, "return\n"}));
  }
  BenchTrigger(const BenchTrigger&) = delete;
  BenchTrigger& operator=(const BenchTrigger&) = delete;
  ~BenchTrigger() {
    try {
      static_cast<void>(supervisor_.require({"TRIGGER", "REMOVE", name_}));
    } catch (const Failure& failure) {
      say("the trigger '{}' could not be removed: {}", name_, failure.text);
    }
  }

 private:
  Supervisor& supervisor_;
  std::string name_;
};

class Worker {
 public:
  Worker(Cache& cache, const std::vector<std::string>& keys, const BenchOptions& options,
         std::size_t value_bytes, std::uint64_t seed)
      : cache_{cache},
        keys_{keys},
        write_percent_{options.write_percent},
        value_(value_bytes, 'v'),
        buffer_(value_bytes, '\0'),
        random_{seed} {}

  void run(const std::string& workload, const std::stop_token& stop, Clock::time_point warm) {
    auto before = Clock::now();
    while (!stop.stop_requested()) {
      const Error error = step(workload);
      const auto after = Clock::now();
      if (error.code != Errc::ok) tally_.fail(error);
      if (before >= warm) {
        tally_.latency_ns.record(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(after - before).count()));
      }
      before = after;
    }
  }

  [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

 private:
  Error step(const std::string& workload) {
    const std::uint64_t number = random_();
    const std::string& key = keys_[number % keys_.size()];
    if (workload == "get") return get(key);
    if (workload == "set") return cache_.set(key, value_).error();
    if (workload == "event") return event(key);
    return (number >> 32U) % 100 < write_percent_ ? cache_.set(key, value_).error() : get(key);
  }

  Error get(const std::string& key) {
    const auto size = cache_.get_into(key, buffer_);
    return size ? Error{} : size.error();
  }

  Error event(const std::string& key) {
    const auto written = cache_.set(key, value_);
    if (!written) return written.error();
    if (!written->event) return Error{Errc::not_found, 0, 0};
    return cache_.wait_acknowledged(*written->event, kAcknowledgeTimeout).error();
  }

  Cache& cache_;
  const std::vector<std::string>& keys_;
  unsigned write_percent_;
  std::string value_;
  std::string buffer_;
  std::mt19937_64 random_;
  Tally tally_{};
};

struct Outcome {
  Tally tally{};
  double seconds = 0;
};

Outcome measure(Cache& cache, const BenchKeys& keys, const BenchOptions& options,
                std::size_t value_bytes, const std::string& workload) {
  std::vector<std::unique_ptr<Worker>> workers;
  const auto start = Clock::now();
  const auto warm = start + kWarmUp;
  const auto end = warm + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>{options.seconds});
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < options.threads; ++i) {
      workers.push_back(std::make_unique<Worker>(cache, keys.names(), options, value_bytes, i + 1));
      threads.emplace_back([&workload, warm, worker = workers.back().get()](
                               const std::stop_token& stop) { worker->run(workload, stop, warm); });
    }
    while (Clock::now() < end && !StopSignal::requested()) {
      std::this_thread::sleep_for(std::min<Clock::duration>(kStopPoll, end - Clock::now()));
    }
    for (auto& thread : threads) thread.request_stop();
  }  // joined
  Outcome outcome;
  outcome.seconds = std::chrono::duration<double>(Clock::now() - warm).count();
  for (const auto& worker : workers) outcome.tally.merge(worker->tally());
  return outcome;
}

Value outcome_value(const std::string& workload, const BenchOptions& options,
                    std::size_t value_bytes, const Outcome& outcome) {
  const Histogram& latency = outcome.tally.latency_ns;
  const auto micros = [](std::uint64_t ns) {
    return Value{static_cast<double>(ns) / 1000, Unit::microseconds};
  };
  const double rate =
      outcome.seconds > 0 ? static_cast<double>(latency.count()) / outcome.seconds : 0;
  Value row = Value::object();
  row.add("workload", workload)
      .add("threads", options.threads)
      .add("keys", options.keys)
      .add("value_bytes", value_bytes)
      .add("operations", latency.count())
      .add("ops_per_second", static_cast<std::uint64_t>(rate))
      .add("mean_us", Value{latency.mean() / 1000, Unit::microseconds})
      .add("p50_us", micros(latency.percentile(50)))
      .add("p90_us", micros(latency.percentile(90)))
      .add("p99_us", micros(latency.percentile(99)))
      .add("p99.9_us", micros(latency.percentile(99.9)))
      .add("max_us", micros(latency.max()))
      .add("failed", outcome.tally.failed);
  return row;
}

/// A benchmark must not push the user's own keys out.
void require_room(const Cache& cache, const BenchOptions& options, std::size_t value_bytes) {
  const auto info = segment_info(cache);
  if (!info) throw Failure{Exit::no, "bench: " + to_string(info.error())};
  if (value_bytes > info->value_bytes_max) {
    throw Failure{Exit::usage, fmt::format("--value-bytes: {} is more than the {} of this segment",
                                           value_bytes, info->value_bytes_max)};
  }
  const std::uint64_t free_bytes = info->data_bytes - std::min(info->used_bytes, info->data_bytes);
  // A set holds two versions of a key for a moment; the overhead covers that for small values.
  const double need =
      static_cast<double>(options.keys) * static_cast<double>(value_bytes + kRecordOverheadBytes);
  if (need > kFreeShareMax * static_cast<double>(free_bytes)) {
    throw Failure{
        Exit::no,
        fmt::format("{} keys of {} bytes need about {}, and segment '{}' has {} free: your "
                    "own keys would be evicted; choose fewer --keys or smaller --value-bytes",
                    options.keys, value_bytes, format_bytes(static_cast<std::uint64_t>(need)),
                    info->name, format_bytes(free_bytes))};
  }
}

void warn_of_triggers(const Cache& cache) {
  const auto table = read_triggers(cache);
  if (!table) return;
  for (const auto& trigger : table->triggers) {
    const bool writes =
        (trigger.events & (event_bit(EventKind::write) | event_bit(EventKind::read) |
                           event_bit(EventKind::del))) != 0;
    if (trigger.enabled && writes && glob_match(trigger.pattern, BenchKeys::prefix() + "0")) {
      say("trigger '{}' takes the keys of this benchmark ({}*) too: its events are part of what is "
          "measured, and its handler runs",
          trigger.name, BenchKeys::prefix());
    }
  }
}

std::size_t checked_value_bytes(const BenchOptions& options) {
  const auto bytes = parse_bytes(options.value_bytes);
  if (!bytes) {
    throw Failure{Exit::usage,
                  fmt::format("--value-bytes: '{}' is no size: expected a number, or one "
                              "with KiB or MiB, for instance 4KiB",
                              options.value_bytes)};
  }
  return *bytes;
}

Exit bench(Context& context, const BenchOptions& options) {
  const std::size_t value_bytes = checked_value_bytes(options);
  const std::vector<std::string> workloads = options.workloads.empty()
                                                 ? std::vector<std::string>{"get", "set", "mixed"}
                                                 : options.workloads;
  Cache& cache = context.source.segment();
  require_room(cache, options, value_bytes);
  warn_of_triggers(cache);
  const StopSignal stop;
  const BenchKeys keys{cache, options.keys};
  const std::string value(value_bytes, 'v');
  for (const auto& key : keys.names()) {
    const auto stored = cache.set(key, value);
    if (!stored)
      throw Failure{Exit::no, fmt::format("bench: {}: {}", key, to_string(stored.error()))};
  }
  Value rows = Value::list();
  std::uint64_t failed = 0;
  for (const auto& workload : workloads) {
    if (StopSignal::requested()) break;
    std::optional<BenchTrigger> trigger;
    if (workload == "event") trigger.emplace(context.source.supervisor());
    const Outcome outcome = measure(cache, keys, options, value_bytes, workload);
    rows.push(outcome_value(workload, options, value_bytes, outcome));
    failed += outcome.tally.failed;
    if (outcome.tally.first_error) {
      say("{}: {} operations failed, the first with: {}", workload, outcome.tally.failed,
          to_string(*outcome.tally.first_error));
    }
  }
  context.out.print(rows);
  return failed == 0 ? Exit::yes : Exit::no;
}

}  // namespace

std::vector<Command> bench_commands() {
  return {
      {.words = "bench",
       .group = kSegmentGroup,
       .summary = "Measure get, set, mixed, event on this machine, with percentiles",
       .example = "cachee bench\ncachee bench get set --threads 2 --seconds 5 --value-bytes 1KiB\n"
                  "cachee bench event --keys 100",
       .declare = [](CLI::App& app) -> Run {
         auto options = std::make_shared<BenchOptions>();
         app.add_option("workload", options->workloads,
                        "get, set, mixed, and event (a write until its trigger has acknowledged; "
                        "needs cacheed); default: get set mixed")
             ->check(CLI::IsMember({"get", "set", "mixed", "event"}));
         declare_integer(app, "--keys", options->keys, "Number of keys (default: 10000)",
                         {.low = 1, .high = 100'000'000});
         declare_word(app, "--value-bytes", options->value_bytes, "Size of a value (default: 100)");
         declare_decimal(app, "--seconds", [options](double seconds) { options->seconds = seconds; },
                         "Time for each workload (default: 2)",
                         {.low = 0.01, .high = 3600, .words = "a number from 0.01 to 3600"});
         declare_integer(app, "--threads", options->threads, "Threads that work at once (default: 1)",
                         {.low = 1, .high = 256});
         declare_integer(app, "--write-percent", options->write_percent,
                         "Share of writes in `mixed` (default: 10)", {.high = 100});
         return [options](Context& context) { return bench(context, *options); };
       }}};
}

}  // namespace cachee::cli
