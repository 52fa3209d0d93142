// cachee_bench_room: what does room cost whoever writes into a full segment, and does memory follow the load?
//
// Prediction: the supervisor makes room before anybody needs it, so a writer that goes at a steady pace meets
// none of it, whatever the sizes are; and after some turnovers memory is where the new values are.
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cachee/inspect.hpp>

#include "workload/keeper.hpp"
#include "workload/options.hpp"
#include "workload/report.hpp"

namespace cachee::bench {
namespace {

constexpr const char* kUsage =
    "usage: cachee_bench_room [--only same,mixed,pages,follow] [--seconds N] [--turnovers N] [--policy NAME] [--json FILE]\n"
    "same      new keys of 200 bytes at 50,000 a second into a full segment: who makes room, and what does it cost?\n"
    "mixed     the same with 40 to 1,000 bytes at 20,000 a second\n"
    "pages     the same with 40 to 200 KB, which are pages of their own, at 500 a second\n"
    "follow    a segment full of 100 bytes each, into which 4 KiB, 60 KB, 300 KB and 1 MB are written for --turnovers\n"
    "          times the memory: how much of it have they got?\n";

constexpr std::uint64_t kMemoryBytes = std::uint64_t{64} << 20;
constexpr double kFollowBytesPerS = 150e6;

struct Options {
  std::string only = "same,mixed,pages,follow";
  std::uint64_t seconds = 5;
  std::uint64_t turnovers = 12;
  EvictionPolicy policy = EvictionPolicy::balanced;
  std::string json{};
  [[nodiscard]] bool wants(std::string_view part) const { return names(only, part); }
};

SegmentOptions segment_options(const Options& options) {
  SegmentOptions segment;
  segment.memory_bytes = kMemoryBytes;
  segment.ring_events = kRingEventsMin;
  segment.clients_max = 8;
  segment.eviction = options.policy;
  return segment;
}

/// One writer, at a steady pace.
class Paced {
 public:
  explicit Paced(Cache& cache) : cache_{cache} {}

  /// Writes new keys for as long, each of a size between the two.
  void write(double per_s, double seconds, std::uint64_t bytes_min, std::uint64_t bytes_max, std::vector<double>* took_us) {
    const auto pace = static_cast<TimeNs>(1e9 / per_s);
    const auto count = static_cast<std::uint64_t>(per_s * seconds);
    std::uniform_int_distribution<std::uint64_t> size{bytes_min, bytes_max};
    TimeNs next = monotonic_now();
    for (std::uint64_t i = 0; i < count; ++i, next += pace) {
      while (monotonic_now() < next) std::this_thread::yield();
      const std::string key = "new:" + std::to_string(written_++);
      const std::uint64_t bytes = size(random_);
      const TimeNs before = monotonic_now();
      static_cast<void>(cache_.set(key, std::string_view{value_}.substr(0, bytes)));
      if (took_us != nullptr) took_us->push_back(static_cast<double>(monotonic_now() - before) / 1e3);
    }
  }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

 private:
  Cache& cache_;
  std::mt19937_64 random_{1};
  std::uint64_t written_ = 0;
  const std::string value_ = std::string(std::size_t{2} << 20, 'v');
};

struct Load {
  const char* name;
  double per_s;
  std::uint64_t bytes_min, bytes_max;
};

void steady(const Options& options, const Load& load, Report& report) {
  const Keeper keeper{segment_options(options)};
  Cache cache = keeper.open();
  Paced writer{cache};
  const double mean = static_cast<double>(load.bytes_min + load.bytes_max) / 2;
  // Full and one turnover further, so that what is measured is the steady state.
  writer.write(load.per_s * 2, 2.0 * static_cast<double>(kMemoryBytes) / mean / (load.per_s * 2), load.bytes_min, load.bytes_max, nullptr);
  const auto before = must(segment_info(cache), "info").totals;
  const double cpu = keeper.upkeep_cpu_s();
  std::vector<double> took_us;
  writer.write(load.per_s, static_cast<double>(options.seconds), load.bytes_min, load.bytes_max, &took_us);
  const auto after = must(segment_info(cache), "info").totals;
  const double spent = keeper.upkeep_cpu_s() - cpu;
  std::sort(took_us.begin(), took_us.end());
  report.add(load.name, "writers_waited_percent", 100.0 * static_cast<double>(after.waited_for_room - before.waited_for_room) / static_cast<double>(took_us.size()));
  report.add(load.name, "set_p50_us", at_share(took_us, 0.5));
  report.add(load.name, "set_p99_us", at_share(took_us, 0.99));
  report.add(load.name, "set_p999_us", at_share(took_us, 0.999));
  report.add(load.name, "evictions", static_cast<double>(after.evicted - before.evicted));
  report.add(load.name, "upkeep_us_per_eviction", 1e6 * spent / static_cast<double>(std::max<std::uint64_t>(1, after.evicted - before.evicted)));
}

void follow(const Options& options, std::uint64_t bytes, Report& report) {
  const Keeper keeper{segment_options(options)};
  Cache cache = keeper.open();
  const std::string name = "follow_" + std::to_string(bytes);
  {
    Paced small{cache};
    small.write(1e6, 0.6, 100, 100, nullptr);  // as fast as it goes
  }
  Paced large{cache};
  const auto before = must(segment_info(cache), "info");
  const auto memory = static_cast<double>(before.data_bytes);
  const double per_s = kFollowBytesPerS / static_cast<double>(bytes);
  for (std::uint64_t turnover = 1; turnover <= options.turnovers; ++turnover) {
    large.write(per_s, memory / kFollowBytesPerS, bytes, bytes, nullptr);
    std::uint64_t got = 0;
    const auto slabs = must(list_slabs(cache), "slabs");
    for (const auto& slab : slabs) got += slab.block_bytes > 2048 ? slab.live * bytes : 0;
    const bool power = (turnover & (turnover - 1)) == 0;
    if (power || turnover == options.turnovers) {
      report.add(name, "percent_after_" + std::to_string(turnover), 100.0 * static_cast<double>(got) / memory);
    }
  }
  const auto totals = must(segment_info(cache), "info").totals;
  report.add(name, "writers_waited_percent", 100.0 * static_cast<double>(totals.waited_for_room - before.totals.waited_for_room) / static_cast<double>(large.written()));
}

EvictionPolicy policy_named(const std::string& name) {
  for (const EvictionPolicy policy : {EvictionPolicy::balanced, EvictionPolicy::lru, EvictionPolicy::cost}) {
    if (to_string(policy) == name) return policy;
  }
  die("no policy of this name evicts: " + name);
}

Options parse(int argc, char** argv) {
  Options options;
  read_options(argc, argv, {}, [&](std::string_view option, const std::string& value) {
    if (option == "--only") options.only = value;
    else if (option == "--seconds") options.seconds = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--turnovers") options.turnovers = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--policy") options.policy = policy_named(value);
    else if (option == "--json") options.json = value;
    else die(kUsage);
    return true;
  });
  if (options.seconds == 0 || options.turnovers == 0) die(kUsage);
  return options;
}

int run(const Options& options) {
  Report report;
  for (const Load& load : {Load{"same", 50'000, 200, 200}, Load{"mixed", 20'000, 40, 1000}, Load{"pages", 500, 40'000, 200'000}}) {
    if (options.wants(load.name)) steady(options, load, report);
  }
  if (options.wants("follow")) {
    for (const std::uint64_t bytes : {4096U, 60'000U, 300'000U, 1'000'000U}) follow(options, bytes, report);
  }
  if (!options.json.empty()) std::ofstream{options.json} << report.json();
  return 0;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(cachee::bench::parse(argc, argv)); }
