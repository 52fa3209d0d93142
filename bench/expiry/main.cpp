// cachee_bench_expiry: how late do EXPIRE events come, what does waiting for deadlines cost, and what
// do clients notice when a million keys expire in one millisecond?
//
// Prediction: p50 below 2 ms and p99 below 10 ms behind the deadline where the sweeper gets its CPU;
// nearly no CPU while nothing expires, however many keys have a deadline.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "expiry/attached.hpp"
#include "expiry/expiring.hpp"
#include "workload/keys.hpp"
#include "workload/options.hpp"
#include "workload/report.hpp"

namespace cachee::bench {
namespace {

using namespace std::chrono_literals;

constexpr const char* kUsage =
    "usage: cachee_bench_expiry [--only random,idle,sessions,mass,among,writer] [--keys N] [--seconds N] [--json FILE]\n"
    "random    N keys with random TTLs and no reads: how late are the events?\n"
    "idle      N keys that do not expire: what does the sweeper cost?\n"
    "sessions  the same while their TTLs of half an hour are renewed all the time\n"
    "mass      N keys with one deadline: when are all events out, and what does a client notice?\n"
    "among     1,000 keys that are due at one time among 100,000 that are not\n"
    "writer    what a TTL adds to a set\n"
    "With --attach NAME it is a client of that segment: --only load (--keys, due after --ttl-ms, over --spread-ms),\n"
    "trickle (the same, one every --pace-us) or storm (evictions for --seconds)\n";

constexpr std::uint64_t kDueAmong = 1000;
constexpr std::uint64_t kOthersAmong = 100'000;

struct Options {
  std::string only = "random,idle,sessions,mass,among,writer";
  std::uint64_t keys = 1'000'000;
  std::uint64_t seconds = 10;
  std::string json{};
  Attached attached{};
  [[nodiscard]] bool wants(std::string_view part) const { return names(only, part); }
};

bool wait_for_events(const Expiring& segment, std::uint64_t count, std::chrono::seconds patience) {
  const TimeNs end = monotonic_now() + patience.count() * 1000 * kMs;
  while (segment.events() < count && monotonic_now() < end) std::this_thread::sleep_for(1ms);
  return segment.events() >= count;
}

void report_lags(Report& report, const std::string& part, std::vector<std::int64_t> lags) {
  std::sort(lags.begin(), lags.end());
  report.add(part, "events", static_cast<double>(lags.size()));
  report.add(part, "late_p50_ms", at_share(lags, 0.5) / 1e3);
  report.add(part, "late_p99_ms", at_share(lags, 0.99) / 1e3);
  report.add(part, "late_p999_ms", at_share(lags, 0.999) / 1e3);
  report.add(part, "late_max_ms", lags.empty() ? 0 : static_cast<double>(lags.back()) / 1e3);
}

/// Loading takes time: no deadline is due before it is over.
TimeNs load_time(std::uint64_t keys) { return (static_cast<TimeNs>(keys / 200'000) + 2) * 1000 * kMs; }

bool random_ttls(const Options& options, Report& report) {
  Expiring segment{options.keys};
  Cache cache = segment.open();
  std::mt19937_64 random{1};
  const TimeNs first = monotonic_now() + load_time(options.keys);
  for (std::uint64_t i = 0; i < options.keys; ++i) {
    const TimeNs due = first + static_cast<TimeNs>(random() % (options.seconds * 1000)) * kMs;
    static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = Ttl{due - monotonic_now()}}), "set"));
  }
  const double before = segment.sweep_cpu_s();
  const bool all = wait_for_events(segment, options.keys, std::chrono::seconds{options.seconds + options.keys / 100'000 + 60});
  report.add("random", "sweeper_percent_of_core", 100 * (segment.sweep_cpu_s() - before) / static_cast<double>(options.seconds));
  report_lags(report, "random", segment.take_lags_us());
  return all;
}

void idle_and_sessions(const Options& options, Report& report) {
  Expiring segment{options.keys};
  Cache cache = segment.open();
  for (std::uint64_t i = 0; i < options.keys; ++i) static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = 30min}), "set"));
  const auto percent = [&](double since) { return 100 * (segment.sweep_cpu_s() - since) / static_cast<double>(options.seconds); };
  if (options.wants("idle")) {
    const double before = segment.sweep_cpu_s();
    std::this_thread::sleep_for(std::chrono::seconds{options.seconds});
    report.add("idle", "keys", static_cast<double>(options.keys));
    report.add("idle", "sweeper_percent_of_core", percent(before));
  }
  if (!options.wants("sessions")) return;
  const double before = segment.sweep_cpu_s();
  const TimeNs end = monotonic_now() + static_cast<TimeNs>(options.seconds) * 1000 * kMs;
  std::uint64_t renewed = 0;
  for (; monotonic_now() < end; ++renewed) static_cast<void>(must(cache.touch(view(make_key(renewed % options.keys)), 30min), "touch"));
  report.add("sessions", "renewed_per_second", static_cast<double>(renewed) / static_cast<double>(options.seconds));
  report.add("sessions", "sweeper_percent_of_core", percent(before));
}

/// All in one millisecond, while a client works.
bool mass(const Options& options, Report& report) {
  constexpr std::size_t kTimesKept = 20'000'000;
  constexpr TimeNs kPatience = 20'000 * kMs;
  Expiring segment{options.keys};
  Cache cache = segment.open();
  const TimeNs due = monotonic_now() + 2 * load_time(options.keys);
  for (std::uint64_t i = 0; i < options.keys; ++i) {
    static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = Ttl{due - monotonic_now()}}), "set"));
  }
  std::vector<TimeNs> took;
  took.reserve(kTimesKept);
  while (monotonic_now() < due) std::this_thread::sleep_for(1ms);
  TimeNs all_out = 0;
  TimeNs last = monotonic_now();
  for (std::uint64_t i = 0; all_out == 0 && last < due + kPatience; ++i) {
    static_cast<void>(must(cache.set(view(make_key(i % 1000 + options.keys)), "w"), "set"));
    const TimeNs now = monotonic_now();
    if (took.size() < kTimesKept) took.push_back(now - last);
    last = now;
    if (segment.events() >= options.keys) all_out = now;
  }
  std::sort(took.begin(), took.end());
  report.add("mass", "events", static_cast<double>(segment.events()));
  report.add("mass", "all_out_ms", all_out == 0 ? -1 : static_cast<double>(all_out - due) / 1e6);
  report.add("mass", "set_p50_us", at_share(took, 0.5) / 1e3);
  report.add("mass", "set_p99_us", at_share(took, 0.99) / 1e3);
  report.add("mass", "set_p999_us", at_share(took, 0.999) / 1e3);
  report.add("mass", "set_max_us", took.empty() ? 0 : static_cast<double>(took.back()) / 1e3);
  return all_out != 0;
}

/// The case that Redis is bad at: few keys are due, many others have a deadline too.
bool among(Report& report) {
  Expiring segment{kOthersAmong + kDueAmong};
  Cache cache = segment.open();
  for (std::uint64_t i = 0; i < kOthersAmong; ++i) static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = 1h}), "set"));
  const TimeNs due = monotonic_now() + 2000 * kMs;
  for (std::uint64_t i = 0; i < kDueAmong; ++i) {
    static_cast<void>(must(cache.set(view(make_key(kOthersAmong + i)), "v", {.ttl = Ttl{due - monotonic_now()}}), "set"));
  }
  const bool all = wait_for_events(segment, kDueAmong, 62s);
  report_lags(report, "among", segment.take_lags_us());
  return all;
}

/// CPU of one set with and without a TTL, taking turns of a millisecond, so that what disturbs the machine for longer
/// meets both and the median of the differences leaves out what disturbs it for less.
void writer(const Options& options, Report& report) {
  constexpr int kTurns = 4'000;
  constexpr std::uint64_t kSets = 999;  // so that a key has both kinds of set in its turn
  constexpr std::uint64_t kStride = 7919;  // prime: neighbouring sets meet distant buckets
  Expiring segment{options.keys};
  Cache cache = segment.open();
  for (std::uint64_t i = 0; i < options.keys; ++i) static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = 30min}), "set"));
  std::vector<double> plain_ns, with_ns, added_ns;
  std::uint64_t next = 0;
  const auto turn = [&](const SetOptions& set) {
    const double before = cpu_now_s();
    for (std::uint64_t i = 0; i < kSets; ++i) static_cast<void>(must(cache.set(view(make_key((next += kStride) % options.keys)), "v", set), "set"));
    return (cpu_now_s() - before) * 1e9 / static_cast<double>(kSets);
  };
  for (int n = 0; n < kTurns; ++n) {
    plain_ns.push_back(turn({}));
    with_ns.push_back(turn({.ttl = 30min}));
    added_ns.push_back(with_ns.back() - plain_ns.back());
  }
  for (auto* times : {&plain_ns, &with_ns, &added_ns}) std::sort(times->begin(), times->end());
  report.add("writer", "set_ns", at_share(plain_ns, 0.5));
  report.add("writer", "set_with_ttl_ns", at_share(with_ns, 0.5));
  report.add("writer", "ttl_adds_ns", at_share(added_ns, 0.5));
}

int run_attached(const Options& options, Report& report) {
  Attached plan = options.attached;
  plan.keys = options.keys;
  if (options.wants("load")) report.add("load", "seconds_until_due", static_cast<double>(load(plan) - monotonic_now()) / 1e9);
  if (options.wants("trickle")) trickle(plan);
  if (options.wants("storm")) report.add("storm", "sets", static_cast<double>(storm(plan, options.seconds)));
  return 0;
}

Options parse(int argc, char** argv) {
  Options options;
  Attached& attached = options.attached;
  read_options(argc, argv, {}, [&](std::string_view option, const std::string& value) {
    const auto number = [&] { return std::strtoull(value.c_str(), nullptr, 10); };
    if (option == "--only") options.only = value;
    else if (option == "--keys") options.keys = number();
    else if (option == "--seconds") options.seconds = number();
    else if (option == "--attach") attached.name = value;
    else if (option == "--ttl-ms") attached.ttl_ms = number();
    else if (option == "--spread-ms") attached.spread_ms = number();
    else if (option == "--pace-us") attached.pace_us = number();
    else if (option == "--json") options.json = value;
    else die(kUsage);
    return true;
  });
  if (options.keys == 0 || options.seconds == 0 || attached.spread_ms == 0) die(kUsage);
  return options;
}

int run(const Options& options) {
  Report report;
  if (!options.attached.name.empty()) return run_attached(options, report);
  bool good = true;
  if (options.wants("random")) good = random_ttls(options, report) && good;
  if (options.wants("idle") || options.wants("sessions")) idle_and_sessions(options, report);
  if (options.wants("mass")) good = mass(options, report) && good;
  if (options.wants("among")) good = among(report) && good;
  if (options.wants("writer")) writer(options, report);
  if (!options.json.empty()) std::ofstream{options.json} << report.json();
  if (!good) std::printf("not every key expired with its event\n");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(cachee::bench::parse(argc, argv)); }
