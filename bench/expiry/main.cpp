// cachee_bench_expiry: how late do EXPIRE events come, what does waiting for deadlines cost, and what
// do clients notice when a million keys expire in one millisecond?
//
// Prediction: p50 below 2 ms and p99 below 10 ms behind the deadline where the sweeper gets its CPU;
// nearly no CPU while nothing expires, however many keys have a deadline.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "workload/keeper.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

using namespace std::chrono_literals;

constexpr TimeNs kMs = 1'000'000;
constexpr std::uint64_t kVisitsPerSweep = 20000;

double cpu_now_s() noexcept {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class T>
T at_share(std::vector<T>& sorted, double share) {
  if (sorted.empty()) return T{};
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

/// A segment whose expiry runs as in cacheed; its events are taken by a thread of their own.
class Expiring {
 public:
  explicit Expiring(std::uint64_t keys) {
    SegmentOptions options;
    options.name = name_;
    options.fresh = true;
    options.memory_bytes = std::max<std::uint64_t>(64 << 20, keys * 400);
    options.ring_events = 1 << 20;
    maintainer_.emplace(must(Maintainer::create(options), "segment"));
    TriggerSpec all;
    all.name = "all";
    all.pattern = "*";
    all.source = "return";
    all.events = event_bit(EventKind::expire);
    TriggerTable table;
    table.triggers.push_back(all);
    must(maintainer_->publish_triggers(table, 1s), "trigger");
    sweeper_ = std::jthread{[this](const std::stop_token& stop) { sweep(stop); }};
    reader_ = std::jthread{[this](const std::stop_token& stop) { read(stop); }};
  }
  Expiring(const Expiring&) = delete;
  Expiring& operator=(const Expiring&) = delete;
  ~Expiring() {
    sweeper_ = std::jthread{};
    reader_ = std::jthread{};
    maintainer_.reset();
    static_cast<void>(remove_segment(name_));
  }
  Cache open() const { return must(Cache::open({.name = name_}), "attach"); }
  std::uint64_t events() const noexcept { return events_.load(); }
  double sweep_cpu_s() const noexcept { return static_cast<double>(sweep_cpu_ns_.load()) * 1e-9; }
  /// Behind the last event only.
  std::vector<std::int64_t>& lags_us() noexcept { return lags_us_; }

 private:
  void sweep(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const TimeNs now = monotonic_now();
      const std::uint64_t done = maintainer_->expire_due(now, kVisitsPerSweep);
      sweep_cpu_ns_.store(static_cast<std::uint64_t>(cpu_now_s() * 1e9));
      if (done >= kVisitsPerSweep) continue;
      // Never sooner than a ms: deadlines are whole ms.
      const TimeNs next = maintainer_->next_deadline();
      maintainer_->wait_for_deadline(std::clamp(next == 0 ? now + 100 * kMs : next, now + kMs, now + 100 * kMs));
    }
  }
  void read(const std::stop_token& stop) {
    const EventReader reader = maintainer_->reader();
    std::uint64_t position = reader.head();
    while (!stop.stop_requested()) {
      const std::uint64_t first = position;
      for (; position - first < 4096; ++position) {
        const auto event = reader.at(EventSeq{position});
        if (!event) break;
        lags_us_.push_back(event->lag_us());
        maintainer_->acknowledge(EventSeq{position});
      }
      if (position == first) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      const Maintainer::Delta delta{0, {.emitted = position - first, .acknowledged = position - first}};
      maintainer_->release_through(position, {&delta, 1});
      events_.store(position);
    }
  }

  const std::string name_ = "bench-expiry-" + std::to_string(getpid());
  std::optional<Maintainer> maintainer_{};
  std::vector<std::int64_t> lags_us_{};
  std::atomic<std::uint64_t> events_{0};
  std::atomic<std::uint64_t> sweep_cpu_ns_{0};
  std::jthread sweeper_{};
  std::jthread reader_{};
};

bool wait_for_events(const Expiring& segment, std::uint64_t count, std::chrono::seconds patience) {
  const TimeNs end = monotonic_now() + patience.count() * 1000 * kMs;
  while (segment.events() < count && monotonic_now() < end) std::this_thread::sleep_for(1ms);
  return segment.events() >= count;
}

void print_lags(const char* what, std::vector<std::int64_t>& lags) {
  std::sort(lags.begin(), lags.end());
  std::printf("%-28s %zu events, behind the deadline: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", what, lags.size(),
              static_cast<double>(at_share(lags, 0.5)) / 1e3, static_cast<double>(at_share(lags, 0.99)) / 1e3,
              static_cast<double>(at_share(lags, 0.999)) / 1e3, lags.empty() ? 0 : static_cast<double>(lags.back()) / 1e3);
}

/// Random TTLs, no reads.
bool lateness(std::uint64_t keys, std::uint64_t seconds) {
  Expiring segment{keys};
  Cache cache = segment.open();
  std::mt19937_64 random{1};
  const TimeNs start = monotonic_now();
  // Loading takes time: no deadline is due before it is over.
  for (std::uint64_t i = 0; i < keys; ++i) {
    const TimeNs due = start + (static_cast<TimeNs>(keys / 200'000) + 2) * 1000 * kMs + static_cast<TimeNs>(random() % (seconds * 1000)) * kMs;
    const TimeNs left = due - monotonic_now();
    static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = Ttl{left}}), "set"));
  }
  const double before = segment.sweep_cpu_s();
  const bool all = wait_for_events(segment, keys, std::chrono::seconds{seconds + keys / 100'000 + 60});
  std::printf("%-28s %.2f %% of a core\n", "sweeper while they expire", 100 * (segment.sweep_cpu_s() - before) / static_cast<double>(seconds));
  print_lags("random TTLs", segment.lags_us());
  return all;
}

/// Keys that do not expire, and refreshes of sessions.
void idle(std::uint64_t keys, std::uint64_t seconds) {
  Expiring segment{keys};
  Cache cache = segment.open();
  for (std::uint64_t i = 0; i < keys; ++i) static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = 30min}), "set"));
  const double before = segment.sweep_cpu_s();
  std::this_thread::sleep_for(std::chrono::seconds{seconds});
  std::printf("%-28s %.3f %% of a core with %llu keys\n", "sweeper, nothing expires", 100 * (segment.sweep_cpu_s() - before) / static_cast<double>(seconds),
              static_cast<unsigned long long>(keys));
  const double busy = segment.sweep_cpu_s();
  const TimeNs start = monotonic_now();
  std::uint64_t refreshes = 0;
  for (std::uint64_t i = 0; monotonic_now() - start < static_cast<TimeNs>(seconds) * 1000 * kMs; ++i, ++refreshes) {
    static_cast<void>(must(cache.touch(view(make_key(i % keys)), 30min), "touch"));
  }
  std::printf("%-28s %.3f %% of a core, %.0f refreshes/s\n", "sweeper, sessions refreshed", 100 * (segment.sweep_cpu_s() - busy) / static_cast<double>(seconds),
              static_cast<double>(refreshes) / static_cast<double>(seconds));
}

/// All in one millisecond, while a client works.
bool mass(std::uint64_t keys) {
  Expiring segment{keys};
  Cache cache = segment.open();
  const TimeNs due = monotonic_now() + (static_cast<TimeNs>(keys / 100'000) + 3) * 1000 * kMs;
  for (std::uint64_t i = 0; i < keys; ++i) {
    static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = Ttl{due - monotonic_now()}}), "set"));
  }
  std::vector<TimeNs> took;
  took.reserve(20'000'000);
  std::uint64_t i = keys;
  TimeNs all_out = 0;
  while (monotonic_now() < due) std::this_thread::sleep_for(1ms);
  for (TimeNs last = monotonic_now(); last < due + 20'000 * kMs; ++i) {
    static_cast<void>(must(cache.set(view(make_key(i % 1000 + keys)), "w"), "set"));
    const TimeNs now = monotonic_now();
    if (took.size() < took.capacity()) took.push_back(now - last);
    last = now;
    if (segment.events() >= keys) {
      all_out = now;
      break;
    }
  }
  std::sort(took.begin(), took.end());
  std::printf("%-28s all %llu events out %.0f ms behind the deadline; a client's set meanwhile: p50 %.1f us, p99.9 %.1f us, max %.0f us\n", "one deadline for all",
              static_cast<unsigned long long>(keys), all_out == 0 ? -1.0 : static_cast<double>(all_out - due) / 1e6, static_cast<double>(at_share(took, 0.5)) / 1e3,
              static_cast<double>(at_share(took, 0.999)) / 1e3, took.empty() ? 0 : static_cast<double>(took.back()) / 1e3);
  return all_out != 0;
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) {
  std::uint64_t keys = 1'000'000;
  std::uint64_t seconds = 10;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--keys") == 0) keys = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::strtoull(argv[i + 1], nullptr, 10);
  }
  bool good = cachee::bench::lateness(keys, seconds);
  cachee::bench::idle(keys, seconds);
  good = cachee::bench::mass(keys) && good;
  return good ? 0 : 1;
}
