// cachee_bench_events: what do triggers cost a writer, how soon does a handler run, and how many events,
// log lines and webhooks does one executor with its supervisor handle?
//
//   cachee_bench_events [--events 400000] [--rounds 7] [--samples 2000] [--cacheed PATH] [--only PART,...] [--json FILE]
//
// Prediction: patterns that do not match cost a set one look at a table of prefixes, and a get nothing. An
// event costs the writer one CAS on the ring and the executor a protected call. What reaches the disk costs
// its rows; the fsync is shared by a thousand events.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "events/supervised.hpp"
#include "workload/keys.hpp"
#include "workload/options.hpp"

namespace cachee::bench {
namespace {

constexpr std::size_t kKeys = 10'000;
constexpr std::size_t kBlock = 10'000;       // operations between two looks at the clock; below half of the ring
constexpr std::size_t kPatterns = 10'000;
constexpr const char* kRingEvents = "1048576";  // half of it holds all events of a part: none goes to the spool
constexpr const char* kManyTriggers = "512MiB";  // of a segment: its size decides how many triggers there may be
constexpr std::size_t kEventsMax = 500'000;
constexpr const char* kReadTwo = "local k, v = event.key, event.value";
constexpr const char* kReadMetadata =
    "local k, v, m = event.key, event.value, event.metadata\nif m.user == m.region then cachee.log('equal', {key = k}) end";
constexpr const char* kLog = "cachee.log('audit', {key = event.key})";
constexpr const char* kSlow = "local n = 0\nfor i = 1, 2000 do n = n + i end";

struct Plan {
  std::size_t events = 400'000;
  std::size_t samples = 2000;
  int rounds = 7;
  std::string only = "writer,latency,events,log,outbox,executors";
  std::string cacheed{};
  std::string json_path{};
  [[nodiscard]] bool wants(std::string_view part) const {
    return names(only, part);
  }
};

Plan read_plan(int argc, char** argv) {
  Plan plan;
  plan.cacheed = (std::filesystem::canonical("/proc/self/exe").parent_path() / "../daemon/cacheed").string();
  read_options(argc, argv, {}, [&](std::string_view option, const std::string& value) {
    if (option == "--events") plan.events = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--samples") plan.samples = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--rounds") plan.rounds = std::atoi(value.c_str());
    else if (option == "--only") plan.only = value;
    else if (option == "--cacheed") plan.cacheed = value;
    else if (option == "--json") plan.json_path = value;
    else return false;
    return true;
  });
  if (plan.events == 0 || plan.events > kEventsMax || plan.samples == 0 || plan.rounds <= 0) {
    die("--samples and --rounds are positive numbers, --events is one up to " + std::to_string(kEventsMax));
  }
  return plan;
}

enum class Wanted { none, at_most, at_least };
struct Row {
  std::string name;
  double value;
  const char* unit;
  Wanted wanted = Wanted::none;
  double goal = 0;
  [[nodiscard]] const char* verdict() const noexcept {
    if (wanted == Wanted::none) return "";
    return (wanted == Wanted::at_most ? value <= goal : value >= goal) ? "met" : "missed";
  }
};

class Report {
 public:
  void add(Row row) {
    std::printf("%-58s %12.1f %-9s", row.name.c_str(), row.value, row.unit);
    if (row.wanted != Wanted::none) {
      std::printf(" %s %-9.0f %s", row.wanted == Wanted::at_most ? "<=" : ">=", row.goal, row.verdict());
    }
    std::printf("\n");
    std::fflush(stdout);
    rows_.push_back(std::move(row));
  }
  void write(const Plan& plan) const {
    std::FILE* file = std::fopen(plan.json_path.c_str(), "w");
    if (file == nullptr) die("cannot write " + plan.json_path);
    std::fprintf(file, "{\"benchmark\": \"events\", \"events\": %zu, \"rounds\": %d, \"samples\": %zu, \"rows\": [", plan.events,
                 plan.rounds, plan.samples);
    const char* separator = "";
    for (const Row& row : rows_) {
      std::fprintf(file, "%s\n  {\"name\": \"%s\", \"value\": %.2f, \"unit\": \"%s\"", separator, row.name.c_str(), row.value, row.unit);
      if (row.wanted != Wanted::none) {
        std::fprintf(file, ", \"%s\": %.2f, \"verdict\": \"%s\"", row.wanted == Wanted::at_most ? "at_most" : "at_least", row.goal,
                     row.verdict());
      }
      std::fprintf(file, "}");
      separator = ",";
    }
    std::fprintf(file, "\n ]}\n");
    if (std::fclose(file) != 0) die("cannot write " + plan.json_path);
  }

 private:
  std::vector<Row> rows_{};
};

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}
double median(std::vector<double> values) { return percentile(std::move(values), 0.5); }

/// "w:000000" and so on: what a trigger on "w:*" is interested in.
std::vector<std::string> make_keys(const char* prefix) {
  std::vector<std::string> keys;
  for (std::size_t n = 0; n < kKeys; ++n) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%06zu", n);
    keys.push_back(prefix + std::string{digits});
  }
  return keys;
}

void store(Cache& cache, const std::string& key, const SetOptions& options = {}) {
  static const std::string value(kValueBytes, 'v');
  const auto written = cache.set(key, value, options);
  if (!written) die("set: " + to_string(written.error()));
}

// What triggers cost a writer and a reader

double set_ns(Cache& cache, const std::vector<std::string>& keys) {
  const TimeNs start = monotonic_now();
  for (std::size_t n = 0; n < kBlock; ++n) store(cache, keys[n % kKeys]);
  return static_cast<double>(monotonic_now() - start) / kBlock;
}

double get_ns(Cache& cache, const std::vector<std::string>& keys) {
  ValueBytes out;
  const TimeNs start = monotonic_now();
  for (std::size_t n = 0; n < kBlock; ++n) {
    if (!cache.get_into(keys[n % kKeys], out)) die("a key is missing");
  }
  return static_cast<double>(monotonic_now() - start) / kBlock;
}

std::string many_patterns() {
  std::string text;
  for (std::size_t n = 0; n < kPatterns; ++n) {
    const std::string number = std::to_string(n);
    text += "TRIGGER REGISTER tenant" + number + ":* ON_WRITE NAME t" + number + " <<LUA\nlocal k = event.key\nLUA\n";
  }
  return text;
}

/// What two segments cost more than the first one, round by round.
struct Costs {
  std::vector<double> set{}, get{};                       // of the first
  std::vector<double> set_more{}, get_more{};             // of the second
  std::vector<double> set_apart_more{}, set_beside_more{};  // of the third, its executor stopped or at work
};

class WriterBench {
 public:
  explicit WriterBench(const Plan& plan) : plan_{plan} {
    for (Cache* cache : {&cache_none_, &cache_others_, &cache_one_}) {
      for (const std::string& key : keys_) store(*cache, key);
    }
  }
  void register_triggers() {
    others_.ask({"TRIGGER", "IMPORT", many_patterns()});
    one_.register_trigger("w:*", kReadTwo);
  }
  Costs measure() {
    constexpr int kBlocksPerRound = 4;
    Costs costs;
    for (int round = -1; round < plan_.rounds * kBlocksPerRound; ++round) {
      const double set = set_ns(cache_none_, keys_);
      const double unmatched = set_ns(cache_others_, keys_);
      const double get = get_ns(cache_none_, keys_);
      const double get_unmatched = get_ns(cache_others_, keys_);
      one_.stop_executors();
      const double apart = set_ns(cache_one_, keys_);
      one_.continue_executors();
      one_.wait_drained(cache_one_);
      const double beside = set_ns(cache_one_, keys_);
      one_.wait_drained(cache_one_);
      if (round < 0) continue;  // to warm up
      costs.set.push_back(set);
      costs.get.push_back(get);
      costs.set_more.push_back(unmatched - set);
      costs.get_more.push_back(get_unmatched - get);
      costs.set_apart_more.push_back(apart - set);
      costs.set_beside_more.push_back(beside - set);
    }
    return costs;
  }

 private:
  const Plan& plan_;
  const std::vector<std::string> keys_ = make_keys("w:");
  const Supervised::Words options_{"--memory", kManyTriggers, "--prefault"};
  Supervised none_{plan_.cacheed, options_};
  Supervised others_{plan_.cacheed, options_};
  Supervised one_{plan_.cacheed, options_};
  Cache cache_none_ = none_.open(true);
  Cache cache_others_ = others_.open(true);
  Cache cache_one_ = one_.open(true);
};

/// Three segments take turns. They differ by where they lie in memory, too: what they differ by before there
/// is a trigger is taken off.
void measure_writer(const Plan& plan, Report& report) {
  WriterBench bench{plan};
  const Costs before = bench.measure();
  bench.register_triggers();
  const Costs after = bench.measure();
  const auto added = [&](std::vector<double> Costs::*what) { return median(after.*what) - median(before.*what); };
  report.add({"set without triggers", median(after.set), "ns"});
  report.add({"get without triggers", median(after.get), "ns"});
  report.add({"10,000 patterns that do not match add to a set", added(&Costs::set_more), "ns", Wanted::at_most, 25});
  report.add({"10,000 patterns that do not match add to a get", added(&Costs::get_more), "ns", Wanted::at_most, 2});
  report.add({"one matching trigger adds to a set", added(&Costs::set_apart_more), "ns", Wanted::at_most, 60});
  report.add({"the same beside the executor at work", added(&Costs::set_beside_more), "ns"});
}

// How soon a handler runs

double wall_now_us() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

/// The handler's first instruction reads the clock; its only effect brings the time back.
std::vector<double> handler_delays_us(const Plan& plan, const char* idle, std::chrono::microseconds pause) {
  Supervised server{plan.cacheed, {"--memory", "64MiB", "--idle", idle}};
  server.register_trigger("l:*", "local now = cachee.now()\ncachee.set('at:' .. event.key, string.format('%.7f', now))");
  // The writer and all that spins of the supervisor share a core, so that the executor has one.
  const auto pin = [](pid_t pid, int core) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    for (const auto& task : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task"}) {
      sched_setaffinity(std::atoi(task.path().filename().c_str()), sizeof one, &one);
    }
  };
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  pin(server.executors().front(), 1);
  pin(server.pid(), 0);
  pin(getpid(), 0);
  Cache cache = server.open();
  std::vector<double> delays;
  for (std::size_t n = 0; n < plan.samples; ++n) {
    const std::string key = "l:" + std::to_string(n);
    std::this_thread::sleep_for(pause);
    store(cache, key);
    const double returned = wall_now_us();
    Result<Value> answer = Errc::not_found;
    while (!(answer = cache.get("at:" + key))) sched_yield();
    delays.push_back(std::strtod(answer->bytes.c_str(), nullptr) * 1e6 - returned);
  }
  sched_setaffinity(0, sizeof before, &before);
  return delays;
}

void measure_latency(const Plan& plan, Report& report) {
  const std::vector<double> spin = handler_delays_us(plan, "spin", std::chrono::microseconds{100});
  report.add({"set to handler, --idle spin, p50", percentile(spin, 0.5), "us", Wanted::at_most, 3});
  report.add({"set to handler, --idle spin, p99", percentile(spin, 0.99), "us"});
  const std::vector<double> adaptive = handler_delays_us(plan, "adaptive", std::chrono::milliseconds{1});
  report.add({"set to handler, adaptive and asleep, p50", percentile(adaptive, 0.5), "us", Wanted::at_most, 60});
  report.add({"set to handler, adaptive and asleep, p99", percentile(adaptive, 0.99), "us"});
}

// How many events are handled

struct Handling {
  double per_s = 0;
  double executor_ns = 0;    // CPU, per event
  double supervisor_ns = 0;  // of all its threads
};

/// The executors are stopped while the events are written, so that the writer takes no CPU from them.
Handling handle_backlog(Supervised& server, Cache& cache, const char* prefix, std::size_t events, const SetOptions& options = {}) {
  const std::vector<std::string> keys = make_keys(prefix);
  server.wait_drained(cache);
  server.stop_executors();
  for (std::size_t n = 0; n < events; ++n) store(cache, keys[n % kKeys], options);
  const TimeNs executor_before = server.executors_cpu_ns();
  const TimeNs supervisor_before = cpu_ns(server.pid());
  const TimeNs start = monotonic_now();
  server.continue_executors();
  server.wait_drained(cache);
  const auto count = static_cast<double>(events);
  return {count * 1e9 / static_cast<double>(monotonic_now() - start),
          static_cast<double>(server.executors_cpu_ns() - executor_before) / count,
          static_cast<double>(cpu_ns(server.pid()) - supervisor_before) / count};
}

struct Handlings {
  std::vector<double> per_s{}, executor_ns{}, supervisor_ns{};
  void add(const Handling& one) {
    per_s.push_back(one.per_s);
    executor_ns.push_back(one.executor_ns);
    supervisor_ns.push_back(one.supervisor_ns);
  }
};

void measure_events(const Plan& plan, Report& report) {
  Supervised server{plan.cacheed, {"--memory", "512MiB", "--ring-events", kRingEvents}};
  Cache cache = server.open();
  server.register_trigger("two:*", kReadTwo);
  server.register_trigger("meta:*", kReadMetadata);
  const SetOptions with_metadata{.metadata = {{"user", "42"}, {"region", "eu-1"}}};
  Handlings two, meta;
  for (int round = -1; round < plan.rounds; ++round) {
    const Handling of_two = handle_backlog(server, cache, "two:", plan.events);
    const Handling of_meta = handle_backlog(server, cache, "meta:", plan.events / 2, with_metadata);
    if (round < 0) continue;
    two.add(of_two);
    meta.add(of_meta);
  }
  server.expect_all_ok("two:*", plan.events * (static_cast<std::size_t>(plan.rounds) + 1));
  server.expect_all_ok("meta:*", plan.events / 2 * (static_cast<std::size_t>(plan.rounds) + 1));
  report.add({"events through one executor, key and value read", median(two.per_s), "1/s", Wanted::at_least, 1e6});
  report.add({"executor CPU of such an event", median(two.executor_ns), "ns", Wanted::at_most, 250});
  report.add({"supervisor CPU of such an event", median(two.supervisor_ns), "ns"});
  report.add({"executor CPU, two metadata fields and a comparison", median(meta.executor_ns), "ns", Wanted::at_most, 600});
  // The writer at full speed beside them: on two cores it takes one.
  const std::vector<std::string> keys = make_keys("two:");
  const TimeNs start = monotonic_now();
  for (std::size_t n = 0; n < plan.events; ++n) store(cache, keys[n % kKeys]);
  server.wait_drained(cache);
  report.add({"the same with the writer beside, written and handled", static_cast<double>(plan.events) * 1e9 / static_cast<double>(monotonic_now() - start), "1/s"});
}

// What reaches the disk

std::size_t count_lines(const std::string& path) {
  std::ifstream file{path};
  return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>{file}, {}, '\n'));
}

void report_disk(Report& report, const char* what, const Handlings& all, double goal) {
  report.add({std::string{what} + " through one executor", median(all.per_s), "1/s", Wanted::at_least, goal});
  report.add({std::string{what} + ": executor CPU of one", median(all.executor_ns), "ns"});
  report.add({std::string{what} + ": supervisor CPU of one", median(all.supervisor_ns), "ns"});
}

void measure_log(const Plan& plan, Report& report) {
  Supervised server{plan.cacheed, {"--memory", "256MiB", "--ring-events", kRingEvents}};
  Cache cache = server.open();
  server.register_trigger("log:*", kLog);
  const std::size_t events = std::max<std::size_t>(1, plan.events / 4);
  Handlings all;
  for (int round = -1; round < plan.rounds; ++round) {
    const Handling one = handle_backlog(server, cache, "log:", events);
    if (round >= 0) all.add(one);
  }
  const std::size_t lines = count_lines(server.state_path("log/audit.jsonl"));
  const std::size_t wanted = events * (static_cast<std::size_t>(plan.rounds) + 1);
  if (lines != wanted) die("the log has " + std::to_string(lines) + " lines of " + std::to_string(wanted));
  report_disk(report, "log lines with group fsync", all, 200'000);
}

/// Takes connections and never answers: requests are under way for as long as they may be, and the sender
/// leaves the disk and the CPU to what is measured.
class SilentReceiver {
 public:
  SilentReceiver() : fd_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(fd_, 128) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      die(std::string{"a receiver of webhooks: "} + std::strerror(errno));
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  }
  SilentReceiver(const SilentReceiver&) = delete;
  SilentReceiver& operator=(const SilentReceiver&) = delete;
  ~SilentReceiver() { close(fd_); }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  int fd_;
  std::string url_{};
};

void measure_outbox(const Plan& plan, Report& report) {
  const SilentReceiver receiver;
  Supervised server{plan.cacheed, {"--memory", "256MiB", "--ring-events", kRingEvents, "--webhook-allow-private"}};
  Cache cache = server.open();
  server.register_trigger("hook:*", "cachee.webhook('" + receiver.url() + "', {key = event.key}, {timeout = 60})");
  const std::size_t events = std::max<std::size_t>(1, plan.events / 20);
  Handlings all;
  for (int round = -1; round < plan.rounds; ++round) {
    const Handling one = handle_backlog(server, cache, "hook:", events);
    if (round >= 0) all.add(one);
  }
  server.expect_all_ok("hook:*", events * (static_cast<std::size_t>(plan.rounds) + 1));
  report_disk(report, "webhooks into the outbox", all, 20'000);
}

// Two executors

void measure_executors(const Plan& plan, Report& report) {
  Supervised one{plan.cacheed, {"--memory", "256MiB", "--ring-events", kRingEvents}};
  Supervised two{plan.cacheed, {"--memory", "256MiB", "--ring-events", kRingEvents, "--executors", "2"}};
  Cache cache_one = one.open();
  Cache cache_two = two.open();
  for (Supervised* server : {&one, &two}) server->register_trigger("slow:*", kSlow);
  std::vector<double> ratios;
  for (int round = -1; round < plan.rounds; ++round) {
    const Handling of_one = handle_backlog(one, cache_one, "slow:", std::max<std::size_t>(1, plan.events / 10));
    const Handling of_two = handle_backlog(two, cache_two, "slow:", std::max<std::size_t>(1, plan.events / 10));
    if (round >= 0) ratios.push_back(of_two.per_s / of_one.per_s);
  }
  for (Supervised* server : {&one, &two}) {
    server->expect_all_ok("slow:*", std::max<std::size_t>(1, plan.events / 10) * (static_cast<std::size_t>(plan.rounds) + 1));
  }
  report.add({"two executors handle, of what one does (slow handler)", median(ratios), "times"});
}

int run(int argc, char** argv) {
  const Plan plan = read_plan(argc, argv);
  Report report;
  if (plan.wants("writer")) measure_writer(plan, report);
  if (plan.wants("latency")) measure_latency(plan, report);
  if (plan.wants("events")) measure_events(plan, report);
  if (plan.wants("log")) measure_log(plan, report);
  if (plan.wants("outbox")) measure_outbox(plan, report);
  if (plan.wants("executors")) measure_executors(plan, report);
  if (!plan.json_path.empty()) report.write(plan);
  return 0;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(argc, argv); }
