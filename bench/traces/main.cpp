// cachee_bench_traces: what share of the requests of real traces misses, with the real segment and
// the real sweep, beside simulators of published policies?
//
// Prediction: the default policy misses less than S3-FIFO at nearly every size, and nowhere more than
// LRU by more than 2 %.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "traces/reference.hpp"
#include "traces/replay.hpp"
#include "traces/trace.hpp"
#include "workload/keeper.hpp"
#include "workload/options.hpp"

namespace cachee::bench {
namespace {

constexpr const char* kUsage =
    "usage: cachee_bench_traces [--traces DIR] [--only NAME,...] [--sizes 0.01,0.1] [--policies balanced,lru]\n"
    "                           [--references LRU,S3-FIFO,...] [--cost ln15|two|lnsz] [--overhead-on-top] [--json FILE] [--at-most RATIO]\n"
    "--at-most: exit 1 when the geometric mean of `balanced` over S3-FIFO is larger, or a simulator does not\n"
    "give the published figure of a public trace\n"
    "--references: simulators to compare with; the summary needs LRU and S3-FIFO\n"
    "without --traces: a small synthetic trace\n";

struct Options {
  std::string traces{};
  std::vector<std::string> only{"arc-oltp", "c2k-orm-busy", "c2k-web12", "adaptsize", "kv-synth"};
  std::vector<std::string> sizes{"0.01", "0.1"};
  std::vector<std::string> policies{"balanced", "lru"};
  std::vector<std::string> references{std::begin(kReferenceNames), std::end(kReferenceNames)};
  std::string cost{};
  bool overhead_on_top = false;
  std::string json{};
  double at_most = 0;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::stringstream in{text};
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

Options parse(int argc, char** argv) {
  Options options;
  read_options(argc, argv, "--overhead-on-top", [&](std::string_view option, const std::string& value) {
    if (option == "--overhead-on-top") options.overhead_on_top = true;
    else if (option == "--traces") options.traces = value;
    else if (option == "--only") options.only = split(value);
    else if (option == "--sizes") options.sizes = split(value);
    else if (option == "--policies") options.policies = split(value);
    else if (option == "--references") options.references = split(value);
    else if (option == "--cost") options.cost = value;
    else if (option == "--json") options.json = value;
    else if (option == "--at-most") options.at_most = std::stod(value);
    else die(kUsage);
    return true;
  });
  return options;
}

struct Row {
  std::string trace{}, size{}, policy{};
  bool real = false;
  std::uint64_t capacity = 0;
  double miss = 0, cost_miss = 0;
  ReplayResult run{};
};

Row simulate(const Trace& trace, const std::string& size, std::uint64_t capacity, std::string_view policy, const std::string& cost) {
  const auto reference = make_reference(policy, capacity, trace.keys);
  if (!reference) die("no simulator of " + std::string{policy});
  std::uint64_t misses = 0;
  double all = 0;
  double missed = 0;
  for (const Request& r : trace.requests) {
    const double c = cost_of(cost, r.key, r.size);
    all += c;
    if (reference->access(r.key, r.size)) continue;
    ++misses;
    missed += c;
  }
  return {trace.name, size, std::string{policy}, false, capacity, static_cast<double>(misses) / static_cast<double>(trace.requests.size()), missed / all, {}};
}

std::string json_of(const std::vector<Row>& rows, const Options& options) {
  std::string text = "{\"cost\": \"" + options.cost + "\", \"overhead_on_top\": " + (options.overhead_on_top ? "true" : "false") + ", \"rows\": [\n";
  char line[640];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    std::snprintf(line, sizeof line,
                  " {\"trace\": \"%s\", \"size\": %s, \"policy\": \"%s\", \"real\": %s, \"capacity\": %llu, \"miss_ratio\": %.5f, "
                  "\"cost_miss_ratio\": %.5f, \"capacity_got\": %llu, \"resident_mean\": %llu, \"block_bytes_mean\": %llu, "
                  "\"evicted\": %llu, \"writers_evicted\": %llu, \"refused\": %llu, \"sweep_cpu_ns_per_eviction\": %.0f}%s\n",
                  r.trace.c_str(), r.size.c_str(), r.policy.c_str(), r.real ? "true" : "false", static_cast<unsigned long long>(r.capacity),
                  r.miss, r.cost_miss, static_cast<unsigned long long>(r.run.capacity_got), static_cast<unsigned long long>(r.run.resident_mean),
                  static_cast<unsigned long long>(r.run.block_bytes_mean), static_cast<unsigned long long>(r.run.evicted),
                  static_cast<unsigned long long>(r.run.writers_evicted), static_cast<unsigned long long>(r.run.refused),
                  r.run.evicted == 0 ? 0 : r.run.sweep_cpu_s * 1e9 / static_cast<double>(r.run.evicted), i + 1 < rows.size() ? "," : "");
    text += line;
  }
  return text + "]}\n";
}

double miss_of(const std::vector<Row>& rows, const Row& like, std::string_view policy, bool cost) {
  for (const Row& r : rows) {
    if (r.trace == like.trace && r.size == like.size && r.policy == policy) return cost ? r.cost_miss : r.miss;
  }
  return 0;
}

/// What libCacheSim gives for the public traces, for the first of kReferenceNames; -1: not published,
/// or not reproduced: with sizes at 1 % it has .7535 and .3790 for S3-FIFO, we .7540 and .4006, and
/// its ARC is not published there.
constexpr std::size_t kPublishedPolicies = 6;
struct Published {
  const char* trace;
  const char* size;
  double miss[kPublishedPolicies];
};
constexpr Published kPublished[] = {
    {"arc-oltp", "0.01", {.6341, .5837, .5783, .5971, .5353, .5460}},     {"arc-oltp", "0.1", {.3666, .3348, .3314, .3334, .3222, .3273}},
    {"c2k-orm-busy", "0.01", {.2406, .2297, .2322, .2947, .2436, .2325}}, {"c2k-orm-busy", "0.1", {.1321, .1199, .1226, .1188, .1111, .1196}},
    {"c2k-web12", "0.01", {.6237, .6030, .5975, .5975, .5900, .5931}},    {"c2k-web12", "0.1", {.3546, .3152, .3084, .2828, .2775, .2913}},
    {"adaptsize", "0.01", {.8020, .7907, .7879, .7729, -1, -1}},          {"adaptsize", "0.1", {.7159, .7017, .6924, .6655, .6700, -1}},
    {"kv-synth", "0.01", {.5470, .5023, .4898, .4237, -1, -1}},           {"kv-synth", "0.1", {.3037, .2663, .2577, .2194, .2182, -1}},
};
constexpr double kRounding = 0.00006;

int references_off(const std::vector<Row>& rows) {
  int off = 0;
  for (const Published& p : kPublished) {
    for (std::size_t n = 0; n < kPublishedPolicies; ++n) {
      for (const Row& r : rows) {
        if (r.real || r.trace != p.trace || r.size != p.size || r.policy != kReferenceNames[n] || p.miss[n] < 0) continue;
        if (std::abs(r.miss - p.miss[n]) <= kRounding) continue;
        std::printf("%s at %s: %s misses %.5f, published is %.4f\n", p.trace, p.size, r.policy.c_str(), r.miss, p.miss[n]);
        ++off;
      }
    }
  }
  return off;
}

/// The geometric mean over S3-FIFO, and how often a policy is near the best.
double print_summary(const std::vector<Row>& rows, const std::string& policy, bool cost) {
  double logs = 0;
  double cost_logs = 0;
  double worst_lru = 0;
  int points = 0;
  int near = 0;
  for (const Row& r : rows) {
    if (!r.real || r.policy != policy) continue;
    double best = 1;
    for (const Row& other : rows) {
      if (!other.real && other.trace == r.trace && other.size == r.size) best = std::min(best, other.miss);
    }
    ++points;
    near += r.miss <= 1.02 * best ? 1 : 0;
    logs += std::log(r.miss / miss_of(rows, r, "S3-FIFO", false));
    cost_logs += std::log(r.cost_miss / miss_of(rows, r, "S3-FIFO", true));
    worst_lru = std::max(worst_lru, r.miss / miss_of(rows, r, "LRU", false));
  }
  if (points == 0) return 0;
  std::printf("%-9s geometric mean over S3-FIFO %.4f; within 2 %% of the best simulated in %d of %d; at worst %.3f of LRU", policy.c_str(),
              std::exp(logs / points), near, points, worst_lru);
  if (cost) std::printf("; cost of misses over S3-FIFO %.4f", std::exp(cost_logs / points));
  std::printf("\n");
  return std::exp(logs / points);
}

int run(const Options& options) {
  std::vector<Row> rows;
  std::printf("%-16s %-5s %-10s %8s %9s %10s %10s %9s %8s\n", "trace", "size", "policy", "misses", "of S3FIFO", "cost misses", "resident", "capacity", "by writers");
  const auto keep = [&](Row row) {
    rows.push_back(std::move(row));
    const Row& r = rows.back();
    const double s3 = miss_of(rows, r, "S3-FIFO", false);
    std::printf("%-16s %-5s %-10s %8.4f %9.3f %10.4f", r.trace.c_str(), r.size.c_str(), r.policy.c_str(), r.miss, s3 > 0 ? r.miss / s3 : 0.0, r.cost_miss);
    if (r.real) std::printf(" %10llu %9llu %8llu", static_cast<unsigned long long>(r.run.resident_mean), static_cast<unsigned long long>(r.run.capacity_got), static_cast<unsigned long long>(r.run.writers_evicted));
    std::printf("\n");
    std::fflush(stdout);
  };
  const auto each = [&](const Trace& trace) {
    for (const std::string& size : options.sizes) {
      const auto capacity = static_cast<std::uint64_t>(std::stod(size) * static_cast<double>(trace.footprint));
      if (trace.sized && capacity < kSegmentBytesMin / 2) continue;  // no segment has so little data
      for (const std::string& name : options.references) keep(simulate(trace, size, capacity, name, options.cost));
      for (const std::string& policy : options.policies) {
        ReplayOptions replaying;
        replaying.capacity = capacity;
        const auto parsed = parse_eviction_policy(policy);
        if (!parsed) die("no policy " + policy);
        replaying.policy = *parsed;
        replaying.cost = options.cost;
        replaying.overhead_on_top = options.overhead_on_top;
        const ReplayResult result = replay(trace, replaying);
        keep({trace.name, size, policy, true, capacity, result.miss_ratio(), result.cost_missed / result.cost_all, result});
      }
    }
  };
  if (options.traces.empty()) {
    each(make_trace(false));
    each(make_trace(true));
  } else {
    for (const std::string& name : options.only) each(load_trace(options.traces, name));
  }
  bool good = true;
  for (const std::string& policy : options.policies) {
    const double mean = print_summary(rows, policy, !options.cost.empty());
    if (options.at_most > 0 && policy == "balanced") good = good && mean > 0 && mean <= options.at_most;
  }
  if (options.at_most > 0 && references_off(rows) > 0) good = false;
  if (!options.json.empty()) std::ofstream{options.json} << json_of(rows, options);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(cachee::bench::parse(argc, argv)); }
