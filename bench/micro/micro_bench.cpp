// What one operation of the public API costs, in one process and beside a second one.
//
//   cachee_bench_micro [--benchmark_filter=REGEX] [--benchmark_format=json]
//
// Keys of 16 bytes, values of 64; 1 M keys (CACHEE_BENCH_KEYS) asked for by Zipf 0.99 or uniformly.
#include <benchmark/benchmark.h>

#include <csignal>
#include <cstdlib>
#include <optional>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload/keeper.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

constexpr std::size_t kStreamLength = std::size_t{1} << 20;
constexpr std::size_t kStreamMask = kStreamLength - 1;

std::size_t key_count() {
  const char* text = std::getenv("CACHEE_BENCH_KEYS");
  const std::size_t count = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return count == 0 ? 1'000'000 : count;
}

/// One filled segment for all benchmarks; made at first use, removed by finish().
struct World {
  Keeper keeper{SegmentOptions{.memory_bytes = std::max<std::size_t>(std::size_t{64} << 20, key_count() * 512),
                               .ring_events = 65536,
                               .eviction = EvictionPolicy::none,
                               .prefault = true}};
  Cache cache = keeper.open();
  std::vector<Key> zipf = make_stream(key_count(), kStreamLength, Spread::zipf, 1);
  std::vector<Key> uniform = make_stream(key_count(), kStreamLength, Spread::uniform, 2);
  std::vector<Key> absent = make_stream(key_count(), kStreamLength, Spread::uniform, 3);
  World() {
    for (std::uint64_t n = 0; n < key_count(); ++n) store(make_key(n), n);
    for (Key& key : absent) key[0] = 'x';
  }
  void store(const Key& key, std::uint64_t turn, const SetOptions& options = {}) {
    const ValueBytes value = make_value(key, turn);
    const auto written = cache.set(view(key), {value.data(), value.size()}, options);
    if (!written) die("set: " + to_string(written.error()));
  }
};
std::optional<World>& the_world() {
  static std::optional<World> world;
  return world;
}
World& world() {
  if (!the_world()) the_world().emplace();
  return *the_world();
}

const std::vector<Key>& stream_of(benchmark::State& state) {
  return state.range(0) == 0 ? world().zipf : world().uniform;
}

// What does a copy of a value cost that is there? A bucket line, a record line, 64 bytes: the two
// cache misses of a flat map with inline values, so about its time.
void get(benchmark::State& state) {
  const auto& stream = stream_of(state);
  char out[kValueBytes];
  std::size_t at = 0;
  for (auto _ : state) {
    const auto bytes = world().cache.get_into(view(stream[at++ & kStreamMask]), out);
    if (!bytes) state.SkipWithError("a key is missing");
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(get)->ArgName("uniform")->Arg(0)->Arg(1);

// What does the std::string of get() add? One allocation, as 64 bytes fit no small string.
void get_string(benchmark::State& state) {
  const auto& stream = stream_of(state);
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(world().cache.get(view(stream[at++ & kStreamMask])));
}
BENCHMARK(get_string)->ArgName("uniform")->Arg(0);

// What does a pin cost against a copy of 64 bytes? A store and a fence for the hazard: about 10 ns more.
void view_pinned(benchmark::State& state) {
  const auto& stream = stream_of(state);
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(world().cache.view(view(stream[at++ & kStreamMask])));
}
BENCHMARK(view_pinned)->ArgName("uniform")->Arg(0);

// Does a miss stay on its bucket line? Yes, so it is the cheapest answer of all.
void get_miss(benchmark::State& state) {
  char out[kValueBytes];
  std::size_t at = 0;
  for (auto _ : state) {
    const auto bytes = world().cache.get_into(view(world().absent[at++ & kStreamMask]), out);
    if (bytes) state.SkipWithError("a key is there that was never set");
  }
}
BENCHMARK(get_miss);

// Do 16 keys at once hide each other's cache misses? About half the time per key.
void get_many_16(benchmark::State& state) {
  const auto& stream = stream_of(state);
  std::array<KeyView, 16> keys;
  std::size_t at = 0;
  std::size_t found = 0;
  for (auto _ : state) {
    for (KeyView& key : keys) key = view(stream[at++ & kStreamMask]);
    const auto read = world().cache.get_many(keys, [&](std::size_t, std::optional<ValueView> value) {
      found += value.has_value();
    });
    if (!read) state.SkipWithError("get_many failed");
  }
  if (found != static_cast<std::size_t>(state.iterations()) * 16) state.SkipWithError("keys are missing");
  state.SetItemsProcessed(state.iterations() * 16);
}
BENCHMARK(get_many_16)->ArgName("uniform")->Arg(0)->Arg(1);

// What does replacing a value cost? A new record and one CAS: a fifth to a quarter over an inline map.
void set(benchmark::State& state) {
  const auto& stream = stream_of(state);
  std::size_t at = 0;
  for (auto _ : state) {
    world().store(stream[at & kStreamMask], at);
    ++at;
  }
}
BENCHMARK(set)->ArgName("uniform")->Arg(0)->Arg(1);

// What does a deadline add to a write? Its minima are low enough already nearly always: little.
void set_with_ttl(benchmark::State& state) {
  const auto& stream = stream_of(state);
  const SetOptions options{.ttl = std::chrono::hours{1}};
  std::size_t at = 0;
  for (auto _ : state) {
    world().store(stream[at & kStreamMask], at, options);
    ++at;
  }
}
BENCHMARK(set_with_ttl)->ArgName("uniform")->Arg(0);

// What does it cost to keep a session alive? One word in place and a look at the minima.
void touch(benchmark::State& state) {
  const auto& stream = stream_of(state);
  std::size_t at = 0;
  for (auto _ : state) {
    const auto touched = world().cache.touch(view(stream[at++ & kStreamMask]), std::chrono::hours{1});
    if (!touched) state.SkipWithError("touch failed");
  }
}
BENCHMARK(touch)->ArgName("uniform")->Arg(0);

void increment(benchmark::State& state) {
  const auto removed = world().cache.erase("counter");
  benchmark::DoNotOptimize(removed.code());
  for (auto _ : state) benchmark::DoNotOptimize(world().cache.increment("counter").code());
}
BENCHMARK(increment);

void add_and_erase(benchmark::State& state) {
  std::size_t at = 0;
  for (auto _ : state) {
    const Key& key = world().absent[at++ & kStreamMask];
    if (!world().cache.set(view(key), "value") || !world().cache.erase(view(key))) {
      state.SkipWithError("add and erase failed");
    }
  }
}
BENCHMARK(add_and_erase);

/// A process of its own that writes without pause while this one is measured.
class Neighbour {
 public:
  Neighbour() : pid_{fork()} {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Cache cache = world().keeper.open();
    for (std::size_t at = 0;; ++at) {
      const Key& key = world().zipf[at * 7 & kStreamMask];
      const ValueBytes value = make_value(key, at);
      if (!cache.set(view(key), {value.data(), value.size()})) _exit(1);
    }
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  ~Neighbour() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

// What does a second process that writes the hottest keys cost a reader? Lines move between the
// cores, but nobody waits: below twice the time.
void get_beside_a_writer(benchmark::State& state) {
  static_cast<void>(world());
  const Neighbour neighbour;
  get(state);
}
BENCHMARK(get_beside_a_writer)->ArgName("uniform")->Arg(0)->UseRealTime();

void set_beside_a_writer(benchmark::State& state) {
  static_cast<void>(world());
  const Neighbour neighbour;
  set(state);
}
BENCHMARK(set_beside_a_writer)->ArgName("uniform")->Arg(0)->UseRealTime();

/// Registers one trigger for the life of a benchmark.
class Registered {
 public:
  explicit Registered(const char* pattern) {
    TriggerTable table;
    table.triggers.push_back({.name = "bench", .pattern = pattern, .events = event_bit(EventKind::write), .id = 1});
    publish(table);
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() { publish({}); }

 private:
  static void publish(TriggerTable table) {
    auto& maintainer = world().keeper.maintainer();
    table.generation = trigger_generation(maintainer.cache()) + 1;
    must(maintainer.publish_triggers(table, std::chrono::seconds{5}), "triggers");
  }
};

/// Takes every event that is there, as a dispatcher does: read, acknowledge, release.
std::uint64_t drain(Maintainer& maintainer, const EventReader& reader) {
  std::uint64_t seq = reader.head();
  std::uint64_t bytes = 0;
  const std::uint64_t first = seq;
  for (;; ++seq) {
    const auto event = reader.at({seq});
    if (!event) break;
    bytes += event->key.size() + event->value.size();
    maintainer.acknowledge({seq});
  }
  benchmark::DoNotOptimize(bytes);
  maintainer.release_through(seq, {});
  return seq - first;
}

// What does a trigger cost that wants other keys? A mask in cache and a cached answer: a few ns.
void set_no_trigger_matches(benchmark::State& state) {
  const Registered registered{"nobody:*"};
  set(state);
}
BENCHMARK(set_no_trigger_matches)->ArgName("uniform")->Arg(0);

constexpr std::uint64_t kBatch = 4096;

// What does a write cost that owes an event? Settle, four CAS of the append: below 100 ns more.
// The drain is outside the clock.
void publish(benchmark::State& state) {
  const Registered registered{"*"};
  auto& maintainer = world().keeper.maintainer();
  const EventReader reader = maintainer.reader();
  std::size_t at = 0;
  while (state.KeepRunningBatch(kBatch)) {
    for (std::uint64_t n = 0; n < kBatch; ++n, ++at) world().store(world().zipf[at & kStreamMask], at);
    state.PauseTiming();
    if (drain(maintainer, reader) != kBatch) state.SkipWithError("a write made no event, or two");
    state.ResumeTiming();
  }
}
BENCHMARK(publish);

// What does the supervisor's side of one event cost: read it in place, acknowledge, release?
void dispatch(benchmark::State& state) {
  const Registered registered{"*"};
  auto& maintainer = world().keeper.maintainer();
  const EventReader reader = maintainer.reader();
  std::size_t at = 0;
  while (state.KeepRunningBatch(kBatch)) {
    state.PauseTiming();
    for (std::uint64_t n = 0; n < kBatch; ++n, ++at) world().store(world().zipf[at & kStreamMask], at);
    state.ResumeTiming();
    if (drain(maintainer, reader) != kBatch) state.SkipWithError("events are missing");
  }
}
BENCHMARK(dispatch);

}  // namespace

void finish() { the_world().reset(); }

}  // namespace cachee::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  cachee::bench::finish();
  return 0;
}
