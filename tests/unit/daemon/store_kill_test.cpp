// Goal: kill -9 at any moment loses nothing and doubles nothing: each event's effects are stored
// once, each log line is in its file once, every run is in exactly one place of the account, and
// the runs of a key keep their order. Method: a child plays the dispatcher over a ring that
// outlives it (shared memory); it is killed at random moments, dozens of times, and started again
// from the first event that was not released; after each kill the store is checked, at the end
// everything is compared with what was emitted.
#include <csignal>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "compliance/log_chain.hpp"
#include "compliance/log_writer.hpp"
#include "core/log.hpp"
#include "support/last_call.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;
using test::Moment;
using test::TempDirectory;

constexpr std::uint64_t kEvents = 2000;
constexpr int kKills = 100;
constexpr std::uint64_t kCallsMax = 120;  // some rounds' worth
constexpr std::uint64_t kKeys = 7;
constexpr std::uint32_t kAttemptsMax = 3;
constexpr std::string_view kTrigger = "orders:*@ON_WRITE";

/// What the segment keeps: how far the ring is released, and the counters that go with it.
struct RingState {
  std::uint64_t released = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t moved = 0;
};
/// Changed as one: the other slot is written, then named as current.
struct Ring {
  RingState slots[2];
  volatile std::uint32_t current;
  [[nodiscard]] RingState read() const { return slots[current]; }
  void write(const RingState& state) {
    slots[1 - current] = state;
    current = 1 - current;
  }
};

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = (a + 1) * 0x9e3779b97f4a7c15ull ^ (b + 1) * 0xc2b2ae3d27d4eb4full;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9ull;
  return x ^ x >> 32;
}

std::uint64_t key_of(std::uint64_t seq) { return mix(seq, 77) % kKeys; }
bool succeeds(std::uint64_t seq, std::uint32_t attempt) { return mix(seq, attempt) % 4 != 0; }
bool ever_succeeds(std::uint64_t seq) {
  for (std::uint32_t attempt = 1; attempt <= kAttemptsMax; ++attempt) {
    if (succeeds(seq, attempt)) return true;
  }
  return false;
}

/// The dispatcher that will be killed. Ends with 0 when nothing is left to do.
class Victim {
 public:
  Victim(const std::string& directory, Ring& ring) : ring_{ring} {
    log::set_level("error");  // that torn lines are cut off is what is to happen
    store_ = must(Store::open({.directory = directory, .verify = false}), 10);
    // Files so small that each life rotates some, between any two steps.
    log_ = must(LogWriter::open(*store_, {.rotate_bytes = 4096, .hash_chain = true}), 11);
    random_.seed(static_cast<std::uint64_t>(::getpid()));
  }

  [[noreturn]] void run() {
    for (;;) {
      const bool ring_done = one_round();
      if (ring_done && must(store_->blocked_lanes(), 12).empty()) ::_exit(0);
    }
  }

 private:
  template <class T>
  static T must(Outcome<T> outcome, int code) {
    if (!outcome) {
      std::fprintf(stderr, "%d: %s\n", code, outcome.failure().text.c_str());
      ::_exit(code);
    }
    return *std::move(outcome);
  }
  static void must(const Outcome<void>& outcome, int code) {
    if (outcome) return;
    std::fprintf(stderr, "%d: %s\n", code, outcome.failure().text.c_str());
    ::_exit(code);
  }

  /// Effects differ from one delivery to the next: only one delivery may show.
  std::vector<Effect> effects_of(std::uint64_t seq) {
    const json line = {{"seq", seq}, {"key", key_of(seq)}, {"nonce", random_()}};
    std::vector<Effect> effects = {log_effect("audit", line.dump()),
                                   webhook_effect("http://receiver/" + std::to_string(seq))};
    if (random_() % 2 == 0) effects.push_back(log_effect("more", line.dump()));
    return effects;
  }

  void handle_ring(Batch& batch, std::uint64_t seq, RingState& next) {
    const std::string id = event_id(seq);
    const RunRef run{.event_id = id, .seq = seq, .trigger = kTrigger};
    if (must(batch.was_moved(id, kTrigger), 20)) {
      ++next.moved;
      return;
    }
    const bool blocked = must(store_->count_lane(kTrigger, key_of(seq)), 21) != 0;
    if (!blocked && succeeds(seq, 1)) {
      must(batch.add_effects(run, effects_of(seq), 1), 22);
      ++next.acknowledged;
      return;
    }
    const MovedRun moved{.run = run,
                         .key_hash = key_of(seq),
                         .state = blocked ? RunState::held : RunState::waiting,
                         .attempts = blocked ? 0u : 1u};
    must(batch.move_in(moved, event_data(seq), 1), 23);
    ++next.moved;
  }

  void handle_stored(Batch& batch, const StoredRun& run) {
    const std::uint32_t attempt = run.attempts + 1;
    if (!run.event || run.event->seq != run.seq) ::_exit(30);
    if (succeeds(run.seq, attempt)) {
      const RunRef ref{.event_id = run.event_id, .seq = run.seq, .trigger = kTrigger};
      must(batch.add_effects(ref, effects_of(run.seq), 1), 31);
      if (!must(batch.finish(run.id, 1), 32)) ::_exit(33);
    } else if (attempt >= kAttemptsMax) {
      if (!must(batch.bury(run.id, {.attempts = attempt, .error = "no"}, 1), 34)) ::_exit(35);
    } else {
      if (!must(batch.fail(run.id, {.attempts = attempt, .error = "no"}), 36)) ::_exit(37);
    }
  }

  /// True when the ring is empty.
  bool one_round() {
    const std::vector<StoredRun> due = must(store_->due_runs(1, 4, {}), 13);
    RingState next = ring_.read();
    const std::uint64_t end = std::min(kEvents, next.released + random_() % 12);
    Batch batch = must(store_->begin(), 14);
    for (const StoredRun& run : due) handle_stored(batch, run);
    for (; next.released < end; ++next.released) handle_ring(batch, next.released, next);
    must(batch.commit(), 15);
    must(log_->flush(), 16);
    ring_.write(next);
    if (random_() % 16 == 0) {
      must(store_->prune_ledger(
               {.before_wall_ms = 1000, .epoch = "5f3a9c1e", .redeliverable_from = next.released},
               1000),
           17);
    }
    return next.released == kEvents;
  }

  Ring& ring_;
  std::unique_ptr<Store> store_{};
  std::unique_ptr<LogWriter> log_{};
  std::mt19937_64 random_{};
};

class StoreKill : public testing::Test {
 protected:
  StoreKill() {
    void* const memory =
        ::mmap(nullptr, sizeof(Ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ring_ = ::new (memory) Ring{};
  }
  ~StoreKill() override { ::munmap(ring_, sizeof(Ring)); }

  /// `calls` changing calls from now it is killed; negative: never.
  pid_t start_victim(long calls, Moment moment) {
    const pid_t child = ::fork();
    if (child == 0) {
      test::die_at_call(calls, moment);
      Victim{state_.path(), *ring_}.run();
    }
    return child;
  }

  void check_between() {
    auto store = open_store(state_.path());
    ASSERT_NE(store, nullptr);
    expect_sound(*store);
    // The store may be ahead of the ring's counters, never behind.
    EXPECT_GE(store->account(kTrigger)->moved_in, ring_->read().moved);
  }

  /// The lines of a channel, by the event's number; fails for a line that is twice there or torn.
  std::map<std::uint64_t, json> read_lines(const std::string& channel) {
    std::map<std::uint64_t, json> lines;
    std::map<std::uint64_t, std::uint64_t> last_of_key;
    LogCheck check;
    const std::vector<std::string> files = log_files_of(LogWriter::path(state_.path(), channel));
    EXPECT_GT(files.size(), 10u);
    std::string all;
    for (const std::string& name : files) {
      std::ifstream file{name};
      all.append(std::istreambuf_iterator<char>{file}, {});
    }
    std::istringstream text_of_all{all};
    for (std::string text; std::getline(text_of_all, text);) {
      EXPECT_EQ(check.take(text), std::nullopt) << text;
      const json line = json::parse(text, nullptr, false);
      EXPECT_FALSE(line.is_discarded()) << text;
      if (line.is_discarded()) continue;
      const std::uint64_t seq = line["seq"];
      EXPECT_EQ(line["_event"], event_id(seq));
      EXPECT_TRUE(lines.emplace(seq, line).second) << "twice: " << text;
      std::uint64_t& last = last_of_key[line["key"]];
      EXPECT_LE(last, seq) << "key " << line["key"] << " out of order";
      last = seq;
    }
    EXPECT_TRUE(check.whole());
    auto store = open_store(state_.path());
    const auto kept = store->log_files();
    for (const LogFile& file : *kept) {
      if (file.channel != channel) continue;
      EXPECT_EQ(check.head(), file.chain);
    }
    return lines;
  }

  TempDirectory state_{TempDirectory::kMemory};
  Ring* ring_ = nullptr;
};

TEST_F(StoreKill, NothingIsLostAndNothingIsDoubled) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random{seed};
  int kills = 0;
  for (bool finished = false; !finished;) {
    const bool to_the_end = kills == kKills;
    const long calls = to_the_end ? -1 : static_cast<long>(random() % kCallsMax);
    const pid_t child = start_victim(calls, static_cast<Moment>(random() % 3));
    ASSERT_GT(child, 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      finished = true;
    } else {
      ASSERT_EQ(WTERMSIG(status), SIGKILL);
      ++kills;
    }
    // Not after each: a look from here also tidies up, and the next life should find what the
    // killed one left.
    if (kills % 8 == 0 || finished) check_between();
    if (HasFailure()) return;
  }
  EXPECT_EQ(kills, kKills) << "it got to its end before it was killed often enough";

  const RingState ring = ring_->read();
  EXPECT_EQ(ring.released, kEvents);
  EXPECT_EQ(ring.acknowledged + ring.moved, kEvents);
  auto store = open_store(state_.path());
  const StoreAccount account = *store->account(kTrigger);
  EXPECT_EQ(account.moved_in, ring.moved);
  EXPECT_EQ(account.retry, 0u);
  EXPECT_TRUE(account.adds_up());

  std::set<std::uint64_t> expected;
  for (std::uint64_t seq = 0; seq < kEvents; ++seq) {
    if (ever_succeeds(seq)) expected.insert(seq);
  }
  EXPECT_EQ(account.dead, kEvents - expected.size());
  const auto audit = read_lines("audit");
  std::set<std::uint64_t> logged;
  for (const auto& [seq, line] : audit) logged.insert(seq);
  EXPECT_EQ(logged, expected);
  // The second channel's lines are of the same delivery as the first's.
  for (const auto& [seq, line] : read_lines("more")) {
    EXPECT_EQ(line["nonce"], audit.at(seq)["nonce"]) << seq;
  }
  std::set<std::uint64_t> owed;
  for (const OutboxRow& row : *store->list_outbox(2 * kEvents)) {
    EXPECT_TRUE(owed.insert(std::stoull(row.url.substr(row.url.rfind('/') + 1))).second) << row.url;
  }
  EXPECT_EQ(owed, expected);
  EXPECT_TRUE(store->pending_channels()->empty());
  expect_sound(*store);
}

}  // namespace
}  // namespace cachee::daemon
