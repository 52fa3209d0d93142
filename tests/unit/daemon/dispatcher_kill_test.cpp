// Goal: a supervisor that is killed between any two steps of DISPATCH and BACKLOG (events/dispatcher.hpp) loses
// no event and doubles none: each is logged once or a dead letter, in the order of its key; a run that may have
// begun before says `duplicate`; and the account adds up for the next supervisor at once.
//
// Method: a child is the supervisor, with the real dispatcher and real executors, and kills itself at a call that
// changes a file, marks an event acknowledged (D4, B3) or releases the ring: before the call, in the middle of what it
// writes, or behind it. Another child takes over, with new events besides, and dies at another call, for as long as
// CACHEE_KILL_SECONDS says (2 for each situation), at least kKillsMin times; the last one finishes.
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <random>
#include <set>

#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/log.hpp"
#include "dispatcher_support.hpp"
#include "store/store.hpp"
#include "support/last_call.hpp"
#include "support/seed.hpp"
#include "support/temp_directory.hpp"

// Linked with --wrap (events.cmake): what marks and releases events is a call like those of libc.
namespace cachee {

#define CACHEE_ACKNOWLEDGE "_ZN6cachee10Maintainer11acknowledgeENS_8EventSeqEb"
#define CACHEE_RELEASE "_ZN6cachee10Maintainer15release_throughEmSt4spanIKNS0_5DeltaELm18446744073709551615EE"
void real_acknowledge(Maintainer* keeper, EventSeq seq, bool moved) noexcept asm("__real_" CACHEE_ACKNOWLEDGE);
void last_acknowledge(Maintainer* keeper, EventSeq seq, bool moved) noexcept asm("__wrap_" CACHEE_ACKNOWLEDGE);
void real_release(Maintainer* keeper, std::uint64_t end, std::span<const Maintainer::Delta> deltas) noexcept asm("__real_" CACHEE_RELEASE);
void last_release(Maintainer* keeper, std::uint64_t end, std::span<const Maintainer::Delta> deltas) noexcept asm("__wrap_" CACHEE_RELEASE);

namespace {
std::atomic<long> ring_calls{0};
}

void last_acknowledge(Maintainer* keeper, EventSeq seq, bool moved) noexcept {
  ++ring_calls;
  const bool last = test::is_last_call();
  real_acknowledge(keeper, seq, moved);
  test::die_if(last);
}

void last_release(Maintainer* keeper, std::uint64_t end, std::span<const Maintainer::Delta> deltas) noexcept {
  ++ring_calls;
  const bool last = test::is_last_call();
  real_release(keeper, end, deltas);
  test::die_if(last);
}

}  // namespace cachee

namespace cachee::daemon {
namespace {

using nlohmann::json;
using test::Moment;

constexpr int kKillsMin = 12;
constexpr int kKeys = 5;
constexpr int kWritesPerLife = 15;
constexpr unsigned kLifeSeconds = 60;  // of a child that hangs
constexpr std::uint64_t kBacklog = 4;

/// One line for each event; and in the cache how often it ran, and how often it said that it may have before.
constexpr const char* kCount = R"(
  cachee.incr("runs:" .. event.id, 1)
  if event.duplicate then cachee.incr("dups:" .. event.id, 1) end
  cachee.log("k", {k = event.key, v = tonumber(event.value), id = event.id}))";
constexpr const char* kCountOrFail = R"(
  local v = tonumber(event.value)
  if v % 31 == 7 then error("never") end
  if v % 4 == 0 and event.attempt < 2 then error("not yet") end)";
constexpr const char* kCountOrGap = R"(
  if event.type == "gap" then
    cachee.log("gaps", {ids = event.metadata.ids, count = event.metadata.count})
    return
  end)";

struct Situation {
  const char* name;
  const char* prologue;  // of the handler
  OnFull on_full;
  bool stopped;          // the executors are, until there is a backlog on disk
};
std::ostream& operator<<(std::ostream& out, const Situation& situation) { return out << situation.name; }

/// What a child tells its parent.
struct Told {
  long calls = 0;
  long ring_calls = 0;
  std::uint64_t spooled = 0, retry = 0, shed = 0;  // the most at one time
};

class DispatcherKill : public ::testing::TestWithParam<Situation> {
 protected:
  DispatcherKill() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // executors of a killed supervisor come to this process
    void* const memory = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    told_ = ::new (memory) Told{};
    segment_.name = test::unique_name("test");
    segment_.memory_bytes = 8 << 20;
    segment_.ring_events = 4096;
    segment_.clients_max = 32;
  }
  ~DispatcherKill() override {
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    cache_.reset();
    static_cast<void>(remove_segment(segment_.name));
    ::munmap(told_, sizeof(Told));
  }

  /// A supervisor in a child, until nothing is left to do or its `calls` are made. Its exit or signal.
  int live(long calls, Moment moment) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kLifeSeconds);
      supervise(calls, moment);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    // An executor that is stopped before it asked for the signal of its parent's death: it ends when it goes on.
    for (const pid_t orphan : executors_of_this_process()) ::kill(orphan, SIGCONT);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return status;
  }
  static bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }
  static bool has_finished(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

  void write_some() {
    for (int i = 0; i < kWritesPerLife; ++i, ++written_) {
      const auto set = cache_->set("k:" + std::to_string(written_ % kKeys), std::to_string(written_));
      ASSERT_TRUE(set && set->event) << written_ << ' ' << to_string(set.error());
      ids_.push_back(reader_->event_id(set->event->value + 1));
    }
  }

  std::vector<json> lines(const std::string& channel) const {
    std::ifstream file{state_.path() + "/log/" + channel + ".jsonl"};
    std::vector<json> all;
    for (std::string line; std::getline(file, line);) all.push_back(json::parse(line));
    return all;
  }

  SegmentOptions segment_{};
  test::TempDirectory state_{test::TempDirectory::kMemory};
  Told* told_ = nullptr;
  std::optional<Cache> cache_{};
  std::optional<EventReader> reader_{};
  int written_ = 0;
  std::vector<std::string> ids_{};

 private:
  template <class T>
  static void must(const T& outcome, const char* what) {
    if (outcome) return;
    if constexpr (requires { outcome.failure(); }) std::fprintf(stderr, "%s: %s\n", what, outcome.failure().text.c_str());
    else std::fprintf(stderr, "%s: %s\n", what, to_string(outcome.error()).c_str());
    ::_exit(3);
  }
  /// The trigger's row, which must add up and have every event.
  TriggerAccount account(Dispatcher& dispatcher) {
    const auto rows = dispatcher.account();
    must(rows, "account");
    const TriggerAccount row = rows->size() == 1 ? rows->front() : TriggerAccount{};
    // A gap is an event, too.
    const auto written = static_cast<std::uint64_t>(written_);
    if (!row.adds_up() || row.emitted < written || (row.emitted > written && row.shed == 0)) {
      std::fprintf(stderr, "%d written; %llu = %llu + %llu + %llu + %llu + %llu + %llu\n", written_,
                   static_cast<unsigned long long>(row.emitted), static_cast<unsigned long long>(row.acknowledged),
                   static_cast<unsigned long long>(row.in_flight), static_cast<unsigned long long>(row.retry),
                   static_cast<unsigned long long>(row.spooled), static_cast<unsigned long long>(row.dead),
                   static_cast<unsigned long long>(row.shed));
      ::_exit(4);
    }
    told_->spooled = std::max(told_->spooled, row.spooled);
    told_->retry = std::max(told_->retry, row.retry);
    told_->shed = std::max(told_->shed, row.shed);
    return row;
  }
  static bool is_at_rest(const TriggerAccount& row) { return row.in_flight + row.retry + row.spooled == 0; }

  [[noreturn]] void supervise(long calls, Moment moment) {
    log::set_level("error");  // what a killed one left is to be mended
    test::die_at_call(calls, moment);
    auto keeper = Maintainer::create(segment_);
    must(keeper, "create");
    DispatcherOptions options;
    options.segment = segment_.name;
    options.store.directory = state_.path();
    options.backlog_events_max = GetParam().stopped ? kBacklog : 0;
    options.spool.free_bytes_min = 0;
    options.spool.file_bytes = 4096;
    auto made = Dispatcher::make(*keeper, options);
    must(made, "make");
    Dispatcher& dispatcher = **made;
    must(dispatcher.start(), "start");
    const auto signal_executors = [](int number) {
      for (const pid_t pid : executors_of_this_process()) ::kill(pid, number);
    };
    if (written_ == 0) {
      TriggerSpec spec;
      spec.name = spec.pattern = "k:*";
      spec.events = event_bit(EventKind::write);
      spec.source = std::string{GetParam().prologue} + kCount;
      spec.on_full = GetParam().on_full;
      spec.retry_attempts = 5;
      spec.backoff_min_ms = 1;
      spec.backoff_max_ms = 2;
      spec.timeout_ms = 10'000;
      must(dispatcher.register_triggers({spec}), "register");
    } else if (GetParam().stopped) {
      signal_executors(SIGSTOP);
      // What an executor took before it was stopped stays with it; the rest goes to disk.
      for (int looks = 0; looks < 200; ++looks) {
        const TriggerAccount row = account(dispatcher);
        if (row.in_flight <= kBacklog / 2) break;
        std::this_thread::sleep_for(1ms);
      }
      signal_executors(SIGCONT);
    }
    while (!is_at_rest(account(dispatcher))) std::this_thread::sleep_for(1ms);
    dispatcher.stop(5s);
    told_->calls = test::calls_made;
    told_->ring_calls = ring_calls;
    ::_exit(0);
  }
};

TEST_P(DispatcherKill, LosesNothingAndDoublesNothingAtAnyStep) {
  const std::uint64_t seed = test::print_seed("dispatcher_kill");
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random{seed};
  ASSERT_TRUE(has_finished(live(-1, Moment::after))) << "registration";
  {
    auto opened = Cache::open({.name = segment_.name});
    ASSERT_TRUE(opened);
    cache_.emplace(std::move(*opened));
    reader_.emplace(*cache_);
  }
  write_some();
  ASSERT_TRUE(has_finished(live(-1, Moment::after)));
  const long calls_max = told_->calls;
  ASSERT_GT(told_->ring_calls, 2) << "the functions of libshm are not wrapped";
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{test::number_setting("CACHEE_KILL_SECONDS", 2)};
  int kills = 0;
  for (int lives = 0; kills < kKillsMin || std::chrono::steady_clock::now() < until; ++lives) {
    ASSERT_LT(lives, kKillsMin * 1000);
    write_some();
    // Now and then one comes to the end, so that what they leave to each other does not grow for ever.
    const long calls = lives % 8 == 7 ? -1 : static_cast<long>(random() % static_cast<std::uint64_t>(calls_max));
    const int status = live(calls, static_cast<Moment>(random() % 3));
    ASSERT_TRUE(was_killed(status) || has_finished(status)) << "exit or signal " << status << " of a life of " << calls << " calls";
    kills += was_killed(status) ? 1 : 0;
  }
  write_some();
  ASSERT_TRUE(has_finished(live(-1, Moment::after)));
  std::printf("%d kills, %ld calls in a life, at most %llu spooled, %llu waiting for a retry, %llu shed\n", kills, calls_max,
              static_cast<unsigned long long>(told_->spooled), static_cast<unsigned long long>(told_->retry),
              static_cast<unsigned long long>(told_->shed));

  std::set<std::string> seen;
  std::map<std::string, int> last;
  for (const json& line : lines("k")) {
    const std::string id = line["id"];
    EXPECT_TRUE(seen.insert(id).second) << "logged twice: " << line;
    const auto [at, first] = last.try_emplace(line["k"], line["v"].get<int>());
    EXPECT_TRUE(first || at->second < line["v"].get<int>()) << "order: " << line;
    at->second = line["v"];
    // Applied again by one who did not know whether it had been: that is said.
    const auto runs = cache_->get("runs:" + id);
    const auto duplicates = cache_->get("dups:" + id);
    ASSERT_TRUE(runs) << id;
    EXPECT_LE(std::stoi(runs->bytes), 1 + (duplicates ? std::stoi(duplicates->bytes) : 0)) << "came again without saying so: " << line;
  }
  for (const json& line : lines("gaps")) {
    for (const std::uint64_t n : numbers_of_gap(line["ids"])) EXPECT_TRUE(seen.insert(reader_->event_id(n)).second) << n << ": " << line;
  }
  auto store = Store::open({.directory = state_.path()});
  ASSERT_TRUE(store);
  const auto letters = (*store)->list_dead(10'000);
  ASSERT_TRUE(letters);
  for (const DeadLetter& letter : *letters) EXPECT_TRUE(seen.insert(letter.event_id).second) << letter.event_id << " is logged and dead";
  EXPECT_EQ(seen, (std::set<std::string>{ids_.begin(), ids_.end()}));
  EXPECT_EQ(test::findings(*cache_), "");
  const auto findings = (*store)->check();
  ASSERT_TRUE(findings);
  for (const std::string& finding : *findings) ADD_FAILURE() << finding;
  if (GetParam().prologue == kCountOrFail) {
    EXPECT_GT(told_->retry, 0u);
    EXPECT_FALSE(letters->empty());
  }
  if (GetParam().stopped) {
    EXPECT_GT(GetParam().on_full == OnFull::shed ? told_->shed : told_->spooled, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, DispatcherKill,
                         ::testing::Values(Situation{"Ring", "", OnFull::block, false}, Situation{"Store", kCountOrFail, OnFull::block, false},
                                           Situation{"Spool", kCountOrFail, OnFull::block, true},
                                           Situation{"Shed", kCountOrGap, OnFull::shed, true}),
                         [](const auto& of) { return std::string{of.param.name}; });

}  // namespace
}  // namespace cachee::daemon
