// A consumer, for tests/e2e/groups_test.py: reads a group through the C++ API and prints what it got.
// group_client.c is the same through the C ABI, without hold and bench.
//
//   e2e_group_client SEGMENT GROUP PATTERN COUNT [ack|poll|nack|late|hold|bench [DEADLINE_MS]]
//     ack     acknowledges each answer, prints a line for each event, ends after COUNT events
//     poll    polls and acknowledges one by one until SIGTERM, then prints the lag
//     nack    gives each event back once, and one of the value "bad" each time; ends after COUNT events
//     late    takes events once, waits for a line of input, then acknowledges them and prints the answers
//     hold    prints them and waits to be killed
//     bench   writes COUNT events itself, then measures how fast it takes them; then the latency of
//             single ones, from the start of a set to the event in hand
#include <algorithm>
#include <chrono>
#include <csignal>
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

volatile std::sig_atomic_t stop_wanted = 0;
void on_stop(int) { stop_wanted = 1; }

using Events = std::vector<cachee::GroupEvent>;

/// What a call handed over, printed: id, kind, key, value, attempt, duplicate, and the fields of metadata.
Events taken(cachee::Subscription& sub, cachee::Result<Events> events) {
  if (!events) die("read", events.error(), sub.last_error_text());
  for (const auto& event : *events) {
    std::printf("%s %s %s %s %u %d", event.id.c_str(), cachee::to_string(event.kind), event.key.c_str(), event.value.c_str(),
                event.attempt, event.duplicate ? 1 : 0);
    for (const auto& [name, value] : event.metadata) std::printf(" %s=%s", name.c_str(), value.c_str());
    std::puts("");
  }
  std::fflush(stdout);
  return std::move(*events);
}

Events wait_for_some(cachee::Subscription& sub) {
  Events events = taken(sub, sub.wait(30s));
  if (events.empty()) die("wait", cachee::Error{cachee::Errc::timed_out});
  return events;
}

void print_lag(cachee::Subscription& sub) {
  const auto lag = sub.lag();
  if (!lag) die("lag", lag.error());
  std::printf("lag %llu\n", static_cast<unsigned long long>(*lag));
}

int poll_until_told(cachee::Subscription& sub) {
  std::signal(SIGTERM, on_stop);
  std::puts("ready");
  std::fflush(stdout);
  while (stop_wanted == 0) {
    const Events events = taken(sub, sub.poll(16));
    for (const auto& event : events) {
      if (auto done = sub.ack(event); !done) die("ack", done.error(), sub.last_error_text());
    }
    if (events.empty()) std::this_thread::sleep_for(1ms);
  }
  print_lag(sub);
  return 0;
}

int nack_each_once(cachee::Subscription& sub, std::size_t count) {
  for (std::size_t seen = 0; seen < count;) {
    for (const auto& event : wait_for_some(sub)) {
      const bool bad = event.value == "bad";
      // With a delay of its own, and with the group's back-off.
      const auto done = bad                  ? sub.nack(event, {.delay = 1ms, .error = "no such user"})
                        : event.attempt == 1 ? sub.nack(event)
                                             : sub.ack(event);
      if (!done) die("nack", done.error(), sub.last_error_text());
      ++seen;
    }
  }
  return 0;
}

int ack_late(cachee::Subscription& sub) {
  const Events events = wait_for_some(sub);
  static_cast<void>(std::getchar());
  for (const auto& event : events) {
    const auto done = sub.ack(event);
    std::printf("%s %s\n", event.id.c_str(), done ? "ok" : cachee::to_string(done.code()));
  }
  return 0;
}

/// Acknowledges with one call for each answer.
int ack_all(cachee::Subscription& sub, std::size_t count, bool hold) {
  for (std::size_t seen = 0; seen < count;) {
    const Events events = wait_for_some(sub);
    seen += events.size();
    if (hold) {
      for (;;) pause();
    }
    // Stale: cacheed was restarted in between; the event comes again and says so.
    if (auto done = sub.ack(events); !done && done.code() != cachee::Errc::stale && done.code() != cachee::Errc::no_supervisor) {
      die("ack", done.error(), sub.last_error_text());
    }
  }
  if (auto lag = sub.lag(); !lag) die("lag", lag.error());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string mode = argc > 5 ? argv[5] : "ack";
  auto cache = cachee::Cache::open({.name = argv[1]});
  if (!cache) die("open", cache.error());
  cachee::SubscribeOptions options{.group = argv[2], .pattern = argv[3], .events = cachee::Event::write | cachee::Event::expire};
  if (argc > 6) options.ack_deadline = std::chrono::milliseconds{std::strtol(argv[6], nullptr, 10)};
  auto sub = cache->subscribe(options);
  if (!sub) die("subscribe", sub.error());
  const auto count = static_cast<std::size_t>(std::strtoull(argv[4], nullptr, 10));
  if (mode == "bench") return bench(*cache, *sub, count);
  if (mode == "poll") return poll_until_told(*sub);
  std::puts("ready");
  std::fflush(stdout);
  if (mode == "nack") return nack_each_once(*sub, count);
  if (mode == "late") return ack_late(*sub);
  return ack_all(*sub, count, mode == "hold");
}
