// Holds a segment for a test that is written in another language: creates it, does what a supervisor
// does for it (expiry, eviction, reaping, heartbeat), and removes it when standard input ends, so
// that a test which dies leaves nothing behind.
//
//   segment_holder NAME [MEMORY_BYTES [RING_EVENTS]]
//
// It says `ready` once, then answers each line of standard input with `ok ...` or `error ...`:
//
//   trigger PATTERN EVENT_MASK BLOCK_MS   publish this one trigger; nobody handles its events
//   acknowledge                           handle all events that are in the ring: `ok COUNT`
//   quit                                  like the end of standard input
#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

namespace {

using namespace std::chrono_literals;

constexpr int kDutyPeriodMs = 2;
constexpr std::uint64_t kItemsPerDuty = 1000;
constexpr auto kPublishWait = 2000ms;

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

cachee::TimeNs now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string publish_trigger(cachee::Maintainer& keeper, std::istringstream& words) {
  cachee::TriggerSpec spec;
  spec.name = "held";
  spec.source = "return";
  spec.id = 1;
  if (!(words >> spec.pattern >> spec.events >> spec.block_ms)) return "error usage";
  cachee::TriggerTable table;
  table.generation = cachee::trigger_generation(keeper.cache()) + 1;
  table.triggers.push_back(std::move(spec));
  const auto done = keeper.publish_triggers(table, kPublishWait);
  return done ? "ok" : "error " + to_string(done.error());
}

std::string acknowledge_all(cachee::Maintainer& keeper) {
  const auto reader = keeper.reader();
  const std::uint64_t head = reader.head();
  std::uint64_t end = head;
  while (reader.at({end})) keeper.acknowledge({end++});
  const cachee::Maintainer::Delta delta{0, {.emitted = end - head, .acknowledged = end - head}};
  keeper.release_through(end, {&delta, 1});
  return "ok " + std::to_string(end - head);
}

std::string answer(cachee::Maintainer& keeper, const std::string& line) {
  std::istringstream words{line};
  std::string command;
  words >> command;
  if (command == "trigger") return publish_trigger(keeper, words);
  if (command == "acknowledge") return acknowledge_all(keeper);
  return "error unknown command: " + command;
}

void do_duties(cachee::Maintainer& keeper) {
  keeper.heartbeat(now());
  (void)keeper.expire_due(now(), kItemsPerDuty);
  (void)keeper.evict(kItemsPerDuty);
  (void)keeper.reap(kItemsPerDuty);
  const std::uint64_t head = keeper.reader().head();
  (void)keeper.answer_waits([head](cachee::EventSeq seq) { return seq.value < head; });
}

// Serves until standard input ends or says quit.
void serve(cachee::Maintainer& keeper) {
  std::string pending;
  for (;;) {
    do_duties(keeper);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kDutyPeriodMs) <= 0) continue;
    char bytes[4096];
    const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0) return;
    pending.append(bytes, static_cast<std::size_t>(count));
    for (std::size_t end; (end = pending.find('\n')) != std::string::npos;) {
      const std::string line = pending.substr(0, end);
      pending.erase(0, end + 1);
      if (line == "quit") return;
      std::puts(answer(keeper, line).c_str());
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fputs("usage: segment_holder NAME [MEMORY_BYTES [RING_EVENTS]]\n", stderr);
    return 2;
  }
  cachee::SegmentOptions options{.name = argv[1], .memory_bytes = std::uint64_t{16} << 20,
                                 .ring_events = cachee::kRingEventsMin, .fresh = true};
  if (argc > 2) options.memory_bytes = number(argv[2]).value_or(0);
  if (argc > 3) options.ring_events = static_cast<std::uint32_t>(number(argv[3]).value_or(0));
  {
    auto keeper = cachee::Maintainer::create(options);
    if (!keeper) {
      std::fprintf(stderr, "segment_holder: %s: %s\n", argv[1],
                   to_string(keeper.error()).c_str());
      return 3;
    }
    std::puts("ready");
    std::fflush(stdout);
    serve(*keeper);
  }
  // A client that is still attached keeps its memory; the name goes in any case that matters here.
  (void)cachee::remove_segment(argv[1]);
  return 0;
}
