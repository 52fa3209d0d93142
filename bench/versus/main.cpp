// Cachee beside other stores, in one run: the same keys, values and order of keys for all; rounds of
// the stores interleaved, so that a slow moment of the machine meets all of them.
//
//   cachee_bench_versus [--keys 1000000] [--rounds 7] [--seconds 2] [--huge-pages] [--json FILE]
//                       [--only WORD] [--operations N]
//
// Prints medians in ns and the ratio to the private inline map; two processes at 95 % get together.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "versus/store.hpp"
#include "workload/keeper.hpp"
#include "workload/keys.hpp"
#include "workload/options.hpp"
#include "workload/processes.hpp"

namespace cachee::bench {
namespace {

struct Plan {
  std::size_t keys = 1'000'000;
  int rounds = 7;
  double seconds = 2;
  std::size_t operations_max = SIZE_MAX;  // of a round
  bool huge_pages = false;
  std::string json_path{};
  std::string only{};
};

struct Mix {
  const char* name;
  Spread spread;
  bool writes;
};
constexpr Mix kMixes[] = {{"get zipf", Spread::zipf, false},
                          {"get uniform", Spread::uniform, false},
                          {"set zipf", Spread::zipf, true},
                          {"set uniform", Spread::uniform, true}};
constexpr std::size_t kMixCount = std::size(kMixes);
constexpr std::size_t kStreamLength = std::size_t{1} << 20;
constexpr std::size_t kProcesses = 2;
constexpr std::uint64_t kSeed = 20240229;

struct Contestant {
  std::unique_ptr<Store> store;
  std::unique_ptr<Session> session{};
  std::vector<double> rounds[kMixCount]{};
  std::vector<Tail> together{};
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

/// One round; ns per operation. Answers are checked, so nothing can be skipped.
double run_round(Session& session, const std::vector<Key>& stream, std::size_t operations, bool writes,
                 std::uint64_t turn) {
  char out[kValueBytes];
  std::size_t wrong = 0;
  const TimeNs start = monotonic_now();
  for (std::size_t n = 0; n < operations; ++n) {
    const Key& key = stream[n & (kStreamLength - 1)];
    if (writes) {
      const ValueBytes value = make_value(key, turn);
      session.set(view(key), {value.data(), value.size()});
    } else {
      const std::size_t bytes = session.get(view(key), out, sizeof out);
      wrong += !belongs({out, bytes}, key);
    }
  }
  const TimeNs took = monotonic_now() - start;
  if (wrong != 0) die(std::to_string(wrong) + " wrong answers");
  return static_cast<double>(took) / static_cast<double>(operations);
}

/// Two processes at 95 % get; each begins elsewhere in the stream.
Tail run_together(Store& store, const std::vector<Key>& stream, const Plan& plan) {
  const auto make_step = [&](std::size_t index) {
    return [&stream, session = store.open(), at = kStreamLength / kProcesses * index, out = ValueBytes{}]() mutable {
      const Key& key = stream[at & (kStreamLength - 1)];
      if (at % 20 == 0) {
        const ValueBytes value = make_value(key, at);
        session->set(view(key), {value.data(), value.size()});
      } else if (!belongs({out.data(), session->get(view(key), out.data(), out.size())}, key)) {
        die("a wrong answer");
      }
      ++at;
    };
  };
  return run_processes(kProcesses, kProcesses, plan.seconds, std::min(store.round_operations(), plan.operations_max), make_step);
}

Plan read_plan(int argc, char** argv) {
  Plan plan;
  read_options(argc, argv, "--huge-pages", [&](std::string_view option, const std::string& value) {
    if (option == "--huge-pages") plan.huge_pages = true;
    else if (option == "--keys") plan.keys = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--rounds") plan.rounds = std::atoi(value.c_str());
    else if (option == "--seconds") plan.seconds = std::atof(value.c_str());
    else if (option == "--operations") plan.operations_max = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--json") plan.json_path = value;
    else if (option == "--only") plan.only = value;
    else return false;
    return true;
  });
  if (plan.keys == 0 || plan.rounds <= 0 || plan.seconds <= 0) die("--keys, --rounds and --seconds are positive numbers");
  return plan;
}

std::vector<Contestant> make_contestants(const Plan& plan) {
  std::vector<Contestant> all;
  const auto add = [&](const char* word, const std::function<std::unique_ptr<Store>(std::string&)>& make) {
    // The yardstick always takes part.
    if (!plan.only.empty() && !all.empty() && std::string_view{word}.find(plan.only) == std::string_view::npos) return;
    std::string why_not;
    auto store = make(why_not);
    if (store == nullptr) {
      std::fprintf(stderr, "left out: %s\n", why_not.c_str());
      return;
    }
    all.push_back({.store = std::move(store)});
    Contestant& one = all.back();
    one.session = one.store->open();
    for (std::uint64_t n = 0; n < plan.keys; ++n) {
      const Key key = make_key(n);
      const ValueBytes value = make_value(key, 0);
      one.session->set(view(key), {value.data(), value.size()});
    }
    std::fprintf(stderr, "filled %s\n", one.store->name().c_str());
  };
  add("inline", [&](std::string&) { return make_inline_map(plan.keys); });
  add("boost", [&](std::string&) { return make_boost_map(plan.keys); });
  add("cachee", [&](std::string&) { return make_cachee(plan.keys, plan.huge_pages); });
  add("lmdb", [&](std::string&) { return make_lmdb(plan.keys); });
  add("redis", [&](std::string& why_not) { return make_redis(why_not); });
  add("memcached", [&](std::string& why_not) { return make_memcached(why_not); });
  return all;
}

void print_table(const std::vector<Contestant>& all) {
  std::printf("%-30s", "median ns (ratio)");
  for (const Mix& mix : kMixes) std::printf(" %20s", mix.name);
  std::printf(" %32s\n", "2 processes, 95 % get: M/s (p99 ns)");
  for (const Contestant& one : all) {
    std::printf("%-30s", one.store->name().c_str());
    for (std::size_t m = 0; m < kMixCount; ++m) {
      const double ns = median(one.rounds[m]);
      std::printf("   %9.1f (%6.2f)", ns, ns / median(all.front().rounds[m]));
    }
    const Tail tail = median(one.together);
    std::printf("   %12.2f (%8.0f)%s\n", tail.mops, tail.p99_ns, one.store->shared() ? "" : "  two private copies");
  }
}

void write_json(const Plan& plan, const std::vector<Contestant>& all) {
  std::FILE* file = std::fopen(plan.json_path.c_str(), "w");
  if (file == nullptr) die("cannot write " + plan.json_path);
  std::fprintf(file, "{\"benchmark\": \"versus\", \"compiler\": \"%s\", \"keys\": %zu, \"key_bytes\": %zu, "
               "\"value_bytes\": %zu, \"rounds\": %d, \"huge_pages\": %s, \"stores\": [",
               __VERSION__, plan.keys, kKeyBytes, kValueBytes, plan.rounds, plan.huge_pages ? "true" : "false");
  const char* comma = "";
  for (const Contestant& one : all) {
    std::fprintf(file, "%s\n  {\"name\": \"%s\", \"shared\": %s, \"mixes\": [", comma, one.store->name().c_str(),
                 one.store->shared() ? "true" : "false");
    comma = ",";
    for (std::size_t m = 0; m < kMixCount; ++m) {
      const auto [low, high] = std::minmax_element(one.rounds[m].begin(), one.rounds[m].end());
      const double ns = median(one.rounds[m]);
      std::fprintf(file, "%s{\"mix\": \"%s\", \"median_ns\": %.2f, \"min_ns\": %.2f, \"max_ns\": %.2f, \"ratio\": %.3f}",
                   m == 0 ? "" : ", ", kMixes[m].name, ns, *low, *high, ns / median(all.front().rounds[m]));
    }
    const Tail tail = median(one.together);
    std::fprintf(file, "],\n   \"two_processes\": {\"mops\": %.3f, \"p50_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f}}",
                 tail.mops, tail.p50_ns, tail.p99_ns, tail.p999_ns);
  }
  std::fprintf(file, "\n]}\n");
  if (std::fclose(file) != 0) die("cannot write " + plan.json_path);
}

int run(int argc, char** argv) {
  const Plan plan = read_plan(argc, argv);
  std::vector<std::vector<Key>> streams;
  for (const Mix& mix : kMixes) streams.push_back(make_stream(plan.keys, kStreamLength, mix.spread, kSeed));
  std::vector<Contestant> all = make_contestants(plan);
  for (std::size_t m = 0; m < kMixCount; ++m) {
    for (int round = -1; round < plan.rounds; ++round) {  // the first one warms up
      for (Contestant& one : all) {
        const std::size_t operations = std::min(one.store->round_operations(), plan.operations_max);
        const double ns = run_round(*one.session, streams[m], operations, kMixes[m].writes,
                                    static_cast<std::uint64_t>(round + 2));
        if (round >= 0) one.rounds[m].push_back(ns);
      }
    }
    std::fprintf(stderr, "measured %s\n", kMixes[m].name);
  }
  // A process may hold LMDB's environment once, and a child none of its parent's: close before fork.
  for (Contestant& one : all) one.session.reset();
  for (int round = 0; round < 3; ++round) {
    for (Contestant& one : all) one.together.push_back(run_together(*one.store, streams[0], plan));
  }
  print_table(all);
  if (!plan.json_path.empty()) write_json(plan, all);
  return 0;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::run(argc, argv); }
