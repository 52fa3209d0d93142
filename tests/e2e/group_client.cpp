// A consumer, for tests/e2e/groups_test.py: reads a group through the C++ API and prints what it got.
//
//   e2e_group_client SEGMENT GROUP PATTERN COUNT [hold|ack|bench]
//     ack     acknowledges each answer, prints a line for each event, ends after COUNT events
//     hold    prints them and waits to be killed
//     bench   writes COUNT events itself, then measures how fast it takes them; then the latency of
//             single ones, from the start of a set to the event in hand
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <cachee/cachee.hpp>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what, const cachee::Error& error, const std::string& text = {}) {
  std::fprintf(stderr, "%s: %s %s\n", what, cachee::to_string(error).c_str(), text.c_str());
  std::exit(1);
}

double us(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

int bench(cachee::Cache& cache, cachee::Subscription& sub, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    while (!cache.set("s:" + std::to_string(i), "value")) std::this_thread::sleep_for(1ms);
  }
  const auto start = Clock::now();
  std::size_t seen = 0;
  while (seen < count) {
    auto events = sub.wait(10s, 256);
    if (!events || events->empty()) die("wait", events.error(), sub.last_error_text());
    if (auto done = sub.ack(*events); !done) die("ack", done.error(), sub.last_error_text());
    seen += events->size();
  }
  const double seconds = us(Clock::now() - start) / 1e6;
  std::vector<double> latencies;
  for (int i = 0; i < 500; ++i) {
    // The set is made while the wait sleeps, as it is when an application writes.
    Clock::time_point began{};
    std::thread writer{[&] {
      std::this_thread::sleep_for(3ms);
      began = Clock::now();
      static_cast<void>(cache.set("s:latency", std::to_string(i)));
    }};
    auto events = sub.wait(10s, 1);
    const auto got = Clock::now();
    writer.join();
    if (!events || events->empty()) die("wait", events.error(), sub.last_error_text());
    latencies.push_back(us(got - began));
    if (auto done = sub.ack(*events); !done) die("ack", done.error(), sub.last_error_text());
  }
  std::sort(latencies.begin(), latencies.end());
  std::printf("{\"events\": %zu, \"events_per_s\": %.0f, \"latency_us_p50\": %.0f, \"latency_us_p99\": %.0f}\n", count,
              static_cast<double>(count) / seconds, latencies[latencies.size() / 2], latencies[latencies.size() * 99 / 100]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string mode = argc > 5 ? argv[5] : "ack";
  auto cache = cachee::Cache::open({.name = argv[1]});
  if (!cache) die("open", cache.error());
  auto sub = cache->subscribe({.group = argv[2], .pattern = argv[3], .events = cachee::Event::write | cachee::Event::expire});
  if (!sub) die("subscribe", sub.error());
  const auto count = static_cast<std::size_t>(std::strtoull(argv[4], nullptr, 10));
  if (mode == "bench") return bench(*cache, *sub, count);
  std::puts("ready");
  std::fflush(stdout);
  for (std::size_t seen = 0; seen < count;) {
    auto events = sub->wait(30s);
    if (!events || events->empty()) die("wait", events.error(), sub->last_error_text());
    for (const auto& event : *events) {
      std::printf("%s %s %s %s %u %d\n", event.id.c_str(), cachee::to_string(event.kind), event.key.c_str(), event.value.c_str(),
                  event.attempt, event.duplicate ? 1 : 0);
    }
    std::fflush(stdout);
    seen += events->size();
    if (mode == "hold") {
      for (;;) pause();
    }
    // Stale: cacheed was restarted in between; the event comes again and says so.
    if (auto done = sub->ack(*events); !done && done.code() != cachee::Errc::stale && done.code() != cachee::Errc::no_supervisor) {
      die("ack", done.error(), sub->last_error_text());
    }
  }
  if (auto lag = sub->lag(); !lag) die("lag", lag.error());
  return 0;
}
