// cachee_bench_scale: what do two processes do together that one does alone, and what does a reader
// notice of a storm of expiry and eviction next to it, and a writer in it?
//
//   cachee_bench_scale [--keys 1000000] [--rounds 5] [--seconds 2] [--json FILE]
//
// Prediction: two readers do twice as much as one, since a get stores nothing that another one reads;
// with half the operations writes, the hot keys' lines travel between the cores, and it is less. A
// reader beside a storm is held up by its cache misses, never by a lock.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "workload/keeper.hpp"
#include "workload/keys.hpp"
#include "workload/options.hpp"
#include "workload/processes.hpp"

namespace cachee::bench {
namespace {

struct Plan {
  std::size_t keys = 1'000'000;
  int rounds = 5;
  double seconds = 2;
  std::string json_path{};
};

struct Mix {
  const char* name;
  std::uint64_t writes_of_100;
  double wanted;  // as much as two processes should do of what one does
};
constexpr Mix kMixes[] = {{"100 % get", 0, 1.9}, {"95 % get", 5, 1.7}, {"50 % get", 50, 1.5}};
constexpr std::size_t kMixCount = std::size(kMixes);
constexpr std::size_t kStreamLength = std::size_t{1} << 20;
constexpr std::size_t kProcessesMax = 2;
constexpr std::uint64_t kSeed = 20240229;

Plan read_plan(int argc, char** argv) {
  Plan plan;
  read_options(argc, argv, {}, [&](std::string_view option, const std::string& value) {
    if (option == "--keys") plan.keys = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--rounds") plan.rounds = std::atoi(value.c_str());
    else if (option == "--seconds") plan.seconds = std::atof(value.c_str());
    else if (option == "--json") plan.json_path = value;
    else return false;
    return true;
  });
  if (plan.keys == 0 || plan.rounds <= 0 || plan.seconds <= 0) die("--keys, --rounds and --seconds are positive numbers");
  return plan;
}

SegmentOptions options_of(std::size_t keys, EvictionPolicy eviction) {
  return {.memory_bytes = (std::size_t{8} << 20) + keys * 200, .eviction = eviction, .prefault = true};
}

void store(Cache& cache, const Key& key, const ValueBytes& value, const SetOptions& options = {}) {
  const auto written = cache.set(view(key), {value.data(), value.size()}, options);
  if (!written) die("set: " + to_string(written.error()));
}

void fill(Cache cache, std::size_t keys) {
  for (std::uint64_t n = 0; n < keys; ++n) {
    const Key key = make_key(n);
    const ValueBytes value = make_value(key, 0);
    store(cache, key, value);
  }
}

/// Reads of the stream; with `writes_of_100` in 100 operations writes.
auto make_mixed(const Keeper& keeper, const std::vector<Key>& stream, std::uint64_t writes_of_100, std::size_t index) {
  return [&stream, writes_of_100, cache = keeper.open(), at = kStreamLength / kProcessesMax * index,
          out = ValueBytes{}]() mutable {
    const Key& key = stream[at & (kStreamLength - 1)];
    if (mix(at) % 100 < writes_of_100) {
      const ValueBytes value = make_value(key, at);
      store(cache, key, value);
    } else if (const auto bytes = cache.get_into(view(key), out); !bytes || !belongs({out.data(), *bytes}, key)) {
      die("a wrong answer");
    }
    ++at;
  };
}

struct Scaling {
  std::vector<double> one{}, two{};  // M operations/s of each round
  double ratio() const {
    std::vector<double> of_rounds;
    for (std::size_t n = 0; n < one.size(); ++n) of_rounds.push_back(two[n] / one[n]);
    std::sort(of_rounds.begin(), of_rounds.end());
    return of_rounds[of_rounds.size() / 2];
  }
};

/// One process and two, in turn: a slow moment of the machine meets both.
std::vector<Scaling> measure_scaling(const Plan& plan, const std::vector<Key>& stream) {
  const Keeper keeper{options_of(plan.keys, EvictionPolicy::none)};
  fill(keeper.open(), plan.keys);
  std::vector<Scaling> all(kMixCount);
  for (int round = 0; round < plan.rounds; ++round) {
    for (std::size_t m = 0; m < kMixCount; ++m) {
      for (std::size_t count = 1; count <= kProcessesMax; ++count) {
        const Tail tail = run_processes(count, count, plan.seconds, kStreamLength / 4, [&](std::size_t index) {
          return make_mixed(keeper, stream, kMixes[m].writes_of_100, index);
        });
        (count == 1 ? all[m].one : all[m].two).push_back(tail.mops);
      }
    }
  }
  return all;
}

/// New keys without end: every second one expires after 20 ms, the others are evicted.
auto make_storm(const Keeper& keeper, std::size_t keys, std::uint64_t turn) {
  return [cache = keeper.open(), next = keys * (turn + 2)]() mutable {
    const Key key = make_key(next);
    const ValueBytes value = make_value(key, 0);
    SetOptions options;
    if (next % 2 == 0) options.ttl = std::chrono::milliseconds{20};
    store(cache, key, value, options);
    ++next;
  };
}

struct Storm {
  std::vector<Tail> quiet{}, storm{}, writer{};
  std::uint64_t evicted = 0, expired = 0;
};

Storm measure_storm(const Plan& plan, const std::vector<Key>& stream) {
  Keeper keeper{options_of(plan.keys, EvictionPolicy::balanced)};
  const Cache watch = keeper.open();
  fill(keeper.open(), plan.keys);
  const auto reader = [&](std::size_t) {
    return [&stream, cache = keeper.open(), at = std::size_t{0}, out = ValueBytes{}]() mutable {
      const Key& key = stream[at & (kStreamLength - 1)];
      const auto bytes = cache.get_into(view(key), out);
      if (bytes ? !belongs({out.data(), *bytes}, key) : bytes.code() != Errc::not_found) die("a wrong answer");
      ++at;
    };
  };
  Storm result;
  for (int round = 0; round < plan.rounds; ++round) {
    result.quiet.push_back(run_processes(1, 1, plan.seconds, kStreamLength / 4, reader));
    // The second process is on the second core, and not in the figures: once the storm's, once the reader's.
    for (const bool of_writer : {false, true}) {
      const std::uint64_t turn = static_cast<std::uint64_t>(round) * 200 + (of_writer ? 100 : 0);
      const auto make_step = [&](std::size_t index) {
        return [read = reader(index), write = make_storm(keeper, plan.keys, turn), writes = (index == 0) == of_writer]() mutable {
          writes ? write() : read();
        };
      };
      (of_writer ? result.writer : result.storm).push_back(run_processes(2, 1, plan.seconds, kStreamLength / 4, make_step));
    }
  }
  const SegmentInfo info = must(segment_info(watch), "info");
  result.evicted = info.totals.evicted;
  result.expired = info.totals.expired;
  return result;
}

int run(int argc, char** argv) {
  const Plan plan = read_plan(argc, argv);
  const std::vector<Key> stream = make_stream(plan.keys, kStreamLength, Spread::zipf, kSeed);
  const std::vector<Scaling> scaling = measure_scaling(plan, stream);
  const Storm storm = measure_storm(plan, stream);
  const auto middle = [](std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  std::printf("%-12s %16s %16s %8s %8s\n", "Zipf 0.99", "one process M/s", "two processes", "ratio", "wanted");
  for (std::size_t m = 0; m < kMixCount; ++m) {
    std::printf("%-12s %16.2f %16.2f %8.2f %8.1f\n", kMixes[m].name, middle(scaling[m].one), middle(scaling[m].two),
                scaling[m].ratio(), kMixes[m].wanted);
  }
  const Tail quiet = median(storm.quiet);
  const Tail loud = median(storm.storm);
  const Tail writer = median(storm.writer);
  std::printf("\n%-26s %8s %8s %8s  (ns, the clock's 20-30 included)\n", "", "p50", "p99", "p99.9");
  const auto print_tail = [](const char* name, const Tail& tail) {
    std::printf("%-26s %8.0f %8.0f %8.0f\n", name, tail.p50_ns, tail.p99_ns, tail.p999_ns);
  };
  print_tail("get alone", quiet);
  print_tail("get beside a storm", loud);
  print_tail("set of a new key in it", writer);
  std::printf("(%llu evicted, %llu expired meanwhile)\n", static_cast<unsigned long long>(storm.evicted),
              static_cast<unsigned long long>(storm.expired));
  if (storm.evicted == 0 || storm.expired == 0) die("the storm did not evict or expire anything");
  if (plan.json_path.empty()) return 0;
  std::FILE* file = std::fopen(plan.json_path.c_str(), "w");
  if (file == nullptr) die("cannot write " + plan.json_path);
  std::fprintf(file, "{\"benchmark\": \"scale\", \"keys\": %zu, \"rounds\": %d, \"mixes\": [", plan.keys, plan.rounds);
  for (std::size_t m = 0; m < kMixCount; ++m) {
    std::fprintf(file, "%s\n  {\"mix\": \"%s\", \"one_mops\": %.3f, \"two_mops\": %.3f, \"ratio\": %.3f, \"wanted\": %.1f}", m == 0 ? "" : ",",
                 kMixes[m].name, middle(scaling[m].one), middle(scaling[m].two), scaling[m].ratio(), kMixes[m].wanted);
  }
  const auto write_tail = [&](const char* name, const Tail& tail) {
    std::fprintf(file, ",\n \"%s\": {\"p50_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f}", name, tail.p50_ns, tail.p99_ns, tail.p999_ns);
  };
  std::fprintf(file, "\n ]");
  write_tail("get_alone", quiet);
  write_tail("get_beside_storm", loud);
  write_tail("set_in_storm", writer);
  std::fprintf(file, ",\n \"evicted\": %llu, \"expired\": %llu}\n", static_cast<unsigned long long>(storm.evicted),
               static_cast<unsigned long long>(storm.expired));
  if (std::fclose(file) != 0) die("cannot write " + plan.json_path);
  return 0;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(argc, argv); }
