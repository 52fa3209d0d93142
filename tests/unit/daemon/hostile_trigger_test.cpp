// Goal: whatever is registered, the supervisor lives on with the memory it had, clients are as fast
// as ever, every event is accounted for, and the handlers of others run. Method: the whole way from
// TRIGGER REGISTER through real executors to the account: the attack corpus beside clients that
// measure themselves, and chunks at random (tests/support/lua_chunks.hpp).
// CACHEE_RANDOM_CHUNKS=100000 is the long form.
#include <malloc.h>

#include <set>

#include "support/lua_chunks.hpp"
#include "support/seed.hpp"
#include "unit/daemon/dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint32_t kTimeoutMs = 100;
constexpr std::uint64_t kMiB = 1 << 20;
// Of the supervisor's heap, after everything: caches of SQLite, the last trace steps, figures.
constexpr std::uint64_t kHeapGrowthMax = 4 * kMiB;
// Of its resident memory, at any moment: the largest reports (8 MiB of effects) are decoded one
// round at a time.
constexpr std::uint64_t kPeakGrowthMax = 64 * kMiB;

std::uint64_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// The most resident memory since the last reset, from /proc.
std::uint64_t peak_bytes(bool reset) {
  if (reset) std::ofstream{"/proc/self/clear_refs"} << "5";
  std::ifstream status{"/proc/self/status"};
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib << 10;
  }
  return 0;
}

std::vector<std::string> corpus() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{CACHEE_ATTACKS_DIR}) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> sources;
  for (const auto& file : files) {
    std::ifstream in{file, std::ios::binary};
    sources.emplace_back(std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{});
  }
  return sources;
}

/// A client that sets and gets without pause, and how long each operation took it.
class BusyClient {
 public:
  explicit BusyClient(Cache cache) : cache_{std::move(cache)}, thread_{[this] { run(); }} {}
  ~BusyClient() { stop(); }
  Histogram stop() {
    stopping_.store(true);
    if (thread_.joinable()) thread_.join();
    return ns_;
  }

 private:
  void run() {
    for (std::uint64_t n = 0; !stopping_.load(); ++n) {
      const std::string key = "plain:" + std::to_string(n % 512);
      const auto begin = std::chrono::steady_clock::now();
      const bool done = n % 4 == 0 ? static_cast<bool>(cache_.set(key, "value"))
                                   : cache_.get(key).code() != Errc::corrupt;
      ns_.add(static_cast<std::uint64_t>((std::chrono::steady_clock::now() - begin).count()));
      EXPECT_TRUE(done);
    }
  }
  Cache cache_;
  Histogram ns_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

class HostileTriggers : public DispatcherTest {
 protected:
  HostileTriggers() { dispatcher_options_.store.durability = sql::Durability::process; }
  /// Waits until every event of a trigger has ended; returns its account.
  TriggerAccount settled(const std::string& name) {
    EXPECT_TRUE(eventually(
        [&] {
          const auto row = account(name);
          return row.in_flight + row.retry + row.spooled == 0;
        },
        60s));
    return account(name);
  }
  void expect_memory_unmoved(std::uint64_t heap_before, std::uint64_t peak_before) {
    const std::uint64_t heap = heap_bytes();
    const std::uint64_t peak = peak_bytes(false);
    std::printf("supervisor: heap %+.2f MiB, peak of resident memory %+.2f MiB\n",
                (static_cast<double>(heap) - static_cast<double>(heap_before)) / kMiB,
                (static_cast<double>(peak) - static_cast<double>(peak_before)) / kMiB);
    EXPECT_LE(heap, heap_before + kHeapGrowthMax);
    EXPECT_LE(peak, peak_before + kPeakGrowthMax);
  }
};

TEST_F(HostileTriggers, AttacksMoveNeitherTheSupervisorsMemoryNorTheClientsP99) {
  const std::vector<std::string> attacks = corpus();
  ASSERT_GE(attacks.size(), 100u);
  put(spec("other:*", EventKind::write, "cachee.log('other', {k = event.key})"));
  Cache cache = segment_->client();
  std::size_t events = 0;
  const auto run = [&](const std::string& source, std::uint64_t steps) {
    TriggerSpec hostile = spec("attack:*", EventKind::write, source);
    hostile.timeout_ms = kTimeoutMs;
    hostile.retry_attempts = 1;
    hostile.steps = steps;
    hostile.memory_bytes = 8 * kMiB;
    put(hostile);
    ASSERT_TRUE(
        cache.set("attack:" + std::to_string(++events), "v", {.metadata = {{"user", "42"}}}));
    ASSERT_TRUE(cache.set("other:" + std::to_string(events), "v"));
    const TriggerAccount row = settled("attack:*");
    ASSERT_EQ(row.emitted, events) << source;
  };
  // What the machine does to a client beside a handler that is merely busy.
  BusyClient before{segment_->client()};
  for (int i = 0; i < 20; ++i)
    run("local x = 0 for i = 1, 2000000 do x = x + i end", 1'000'000'000);
  const Histogram beside_plain = before.stop();
  const std::uint64_t heap_before = heap_bytes();
  const std::uint64_t peak_before = peak_bytes(true);

  BusyClient during{segment_->client()};
  for (const std::string& source : attacks) {
    run(source, TriggerSpec{}.steps);
    if (HasFatalFailure()) return;
  }
  const Histogram beside_attacks = during.stop();
  expect_memory_unmoved(heap_before, peak_before);
  std::printf(
      "clients: p99 %llu ns beside a busy handler, %llu ns beside attacks (%llu operations)\n",
      static_cast<unsigned long long>(beside_plain.percentile(0.99)),
      static_cast<unsigned long long>(beside_attacks.percentile(0.99)),
      static_cast<unsigned long long>(beside_attacks.count()));
  // A lock, a wait or a system call in a client's way would be a hundred times as much.
  EXPECT_LE(beside_attacks.percentile(0.99), 4 * beside_plain.percentile(0.99) + 5000);
  const auto stats = dispatcher_->trigger_stats("attack:*");
  ASSERT_TRUE(stats);
  std::printf("attacks: %zu, longest run %.1f ms of %u\n", attacks.size(),
              (*stats)["run_us_max"].get<double>() / 1000, kTimeoutMs);
  EXPECT_LE((*stats)["run_us_max"].get<double>(),
            (2 * kTimeoutMs + 150) * 1000.0);  // the margin is this machine's scheduler
  EXPECT_EQ(settled("other:*").acknowledged, events);
  EXPECT_TRUE(eventually([&] { return lines("other").size() == events; }));
}

TEST_F(HostileTriggers, RandomChunksLeaveSupervisorMemoryAndAccountWhole) {
  test::LuaChunks chunks{test::print_seed("random chunks")};
  const long count = test::number_setting("CACHEE_RANDOM_CHUNKS", 1000);
  const std::vector<std::string> attacks = corpus();
  put(spec("other:*", EventKind::write, "cachee.log('other', {k = event.key})"));
  Cache cache = segment_->client();
  std::uint64_t heap_before = 0;
  std::uint64_t peak_before = 0;
  constexpr long kWarmUp = 50;
  constexpr long kNames = 8;
  long accepted = 0;
  std::uint64_t owed = 0;
  std::set<std::string> names;
  for (long n = 0; n < count; ++n) {
    if (n == kWarmUp) {
      heap_before = heap_bytes();
      peak_before = peak_bytes(true);
    }
    std::string source = n % 5 == 4 ? attacks[chunks.below(attacks.size())] : chunks.chunk();
    if (n % 5 >= 3)
      source = chunks.mutate(std::move(source), attacks[chunks.below(attacks.size())]);
    SCOPED_TRACE("chunk " + std::to_string(n) + ":\n" + source);
    const std::string pattern = "r" + std::to_string(n % kNames) + ":*";
    TriggerSpec random = spec(pattern, EventKind::write, source);
    random.name = pattern;
    random.timeout_ms = 15;
    random.memory_bytes = kMiB;
    random.steps = 20'000;
    random.retry_attempts = 2;
    random.backoff_min_ms = random.backoff_max_ms = 1;
    random.depth_max = 2;
    const auto registered = dispatcher_->register_triggers({random});
    if (registered) {
      ++accepted;
      names.insert(pattern);
    } else {
      ASSERT_EQ(registered.failure().code, Errc::invalid_argument) << registered.failure().text;
      ASSERT_TRUE(registered.failure().text.starts_with(pattern + ":"))
          << registered.failure().text;
    }
    // Refused or not, what is registered under the name runs; runs of the last one may be in
    // flight.
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(cache.set("r" + std::to_string(n % kNames) + ":" + std::to_string(i),
                            "v" + std::to_string(n)));
    ASSERT_TRUE(cache.set("other:" + std::to_string(n), "v"));
    owed += names.contains(pattern) ? 2 : 0;
  }
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;
  std::uint64_t emitted = 0;
  for (const std::string& name : names) {
    const TriggerAccount row = settled(name);
    EXPECT_EQ(row.emitted, row.acknowledged + row.dead + row.shed) << name;
    emitted += row.emitted;
    const auto stats = dispatcher_->trigger_stats(name);
    ASSERT_TRUE(stats);
    ok += (*stats)["ok"].get<std::uint64_t>();
    failed += (*stats)["failed"].get<std::uint64_t>();
  }
  std::printf("%ld chunks, %ld compiled; %llu events, %llu runs went well, %llu failed\n", count,
              accepted, static_cast<unsigned long long>(emitted),
              static_cast<unsigned long long>(ok), static_cast<unsigned long long>(failed));
  EXPECT_GE(emitted, owed);
  // Chunks that never compile, never fail or always fail would show nothing.
  EXPECT_GT(accepted, count / 2);
  EXPECT_GT(ok, owed / 4);
  EXPECT_GT(failed, owed / 20);
  expect_memory_unmoved(heap_before, peak_before);
  EXPECT_EQ(settled("other:*").acknowledged, static_cast<std::uint64_t>(count));
  EXPECT_TRUE(eventually([&] { return lines("other").size() == static_cast<std::size_t>(count); }));
}

}  // namespace
}  // namespace cachee::daemon
