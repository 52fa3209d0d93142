// Goal: an executor process runs the events of its lane, each once and in order, whatever happens
// to it; scripts that hang are ended from outside, and the next process is ready at once.
// Method: real segments and real processes: this program is its own executor, it starts itself with
// --executor. The tests play the supervisor.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "executor/executor_main.hpp"
#include "executor/rehearsal.hpp"
#include "script/effects.hpp"
#include "support/temp_segment.hpp"
#include "unit/daemon/attack_corpus.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::TempSegment;

constexpr auto kPatience = 20s;

TimeNs monotonic_ns() { return Clock::now().time_since_epoch().count(); }

/// A report that outlives the sink's call.
struct Seen {
  RunReport report{};
  std::string error{};
  std::string traceback{};
  std::vector<Effect> effects{};
};

TriggerSpec trigger(std::string pattern, std::string source, EventKind kind = EventKind::write) {
  TriggerSpec spec;
  spec.name = pattern;
  spec.pattern = std::move(pattern);
  spec.events = event_bit(kind);
  spec.source = std::move(source);
  return spec;
}

class ExecutorTest : public testing::Test {
 protected:
  ExecutorTest() {
    SegmentOptions options;
    options.memory_bytes = 32 << 20;
    options.ring_events = 4096;
    options.clients_max = 32;
    segment_.emplace(options);
    cache_.emplace(segment_->client());
  }

  /// Registers these triggers and no others; slots in the order given.
  void publish(std::vector<TriggerSpec> specs) {
    TriggerTable table;
    const std::uint64_t generation = trigger_generation(segment_->keeper().cache());
    for (TriggerSpec& spec : specs) {
      if (spec.id == 0) {
        spec.slot = static_cast<std::uint32_t>(&spec - specs.data());
        spec.id = ++last_id_;
        spec.since_generation = generation + 1;
      }
    }
    table.triggers = std::move(specs);
    ASSERT_TRUE(segment_->keeper().publish_triggers(table, 5s));
    table_ = std::move(table);
  }

  std::unique_ptr<Executor> start(ExecutorOptions options = {}) {
    options.segment = segment_->name();
    auto started = Executor::start(options);
    EXPECT_TRUE(started) << started.failure().text;
    return started ? std::move(*started) : nullptr;
  }

  /// Takes what there is; waits for a moment.
  static void collect(Executor& executor, std::vector<Seen>& into) {
    executor.poll(256, [&](const RunReport& report) {
      Seen seen;
      seen.report = report;
      seen.error = report.error;
      seen.traceback = report.traceback;
      if (!report.effects.empty()) {
        auto decoded = decode_effects(report.effects);
        EXPECT_TRUE(decoded);
        if (decoded) seen.effects = std::move(*decoded);
      }
      seen.report.error = seen.report.traceback = seen.report.effects = {};
      into.push_back(std::move(seen));
    });
  }
  /// The next `count` reports.
  static std::vector<Seen> reports(Executor& executor, std::size_t count) {
    std::vector<Seen> seen;
    const auto until = Clock::now() + kPatience;
    while (seen.size() < count && Clock::now() < until && !executor.exited()) {
      collect(executor, seen);
      if (seen.size() < count) executor.wait(10ms);
    }
    collect(executor, seen);
    EXPECT_EQ(seen.size(), count) << executor.exited().value_or("the executor lives");
    return seen;
  }
  static Seen one_report(Executor& executor) {
    auto seen = reports(executor, 1);
    return seen.empty() ? Seen{} : std::move(seen.front());
  }
  template <class Holds>
  static bool eventually(Holds&& holds) {
    const auto until = Clock::now() + kPatience;
    while (!holds()) {
      if (Clock::now() > until) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  EventSeq set(KeyView key, ValueView value, const SetOptions& options = {}) {
    const auto written = cache_->set(key, value, options);
    EXPECT_TRUE(written) << to_string(written.error());
    EXPECT_TRUE(written && written->event) << "no trigger wants " << key;
    return written && written->event ? *written->event : EventSeq{};
  }
  [[nodiscard]] std::uint64_t hash_of(EventSeq seq) const {
    const auto event = EventReader{*cache_}.at(seq);
    return event ? event->key_hash : 0;
  }

  std::optional<TempSegment> segment_{};
  std::optional<Cache> cache_{};
  TriggerTable table_{};
  std::uint64_t last_id_ = 0;
};

TEST_F(ExecutorTest, RunsTheEventsOfItsLaneInOrder) {
  publish({trigger("k:*", "cachee.set('copy:' .. event.key, event.value)")});
  const auto executor = start();
  std::vector<EventSeq> written;
  for (int i = 0; i < 200; ++i) written.push_back(set("k:" + std::to_string(i), std::to_string(i)));
  const auto seen = reports(*executor, written.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].report.seq, written[i]);
    EXPECT_EQ(seen[i].report.status, RunStatus::ok) << seen[i].error;
    EXPECT_TRUE(seen[i].report.last);
    EXPECT_EQ(seen[i].report.attempt, 1U);
    EXPECT_FALSE(seen[i].report.duplicate);
    EXPECT_EQ(seen[i].report.trigger_id, table_.triggers[0].id);
    EXPECT_EQ(seen[i].report.key_hash, hash_of(written[i]));
    ASSERT_EQ(seen[i].effects.size(), 1U);
    EXPECT_EQ(seen[i].effects[0].key, "copy:k:" + std::to_string(i));
    EXPECT_EQ(seen[i].effects[0].value, std::to_string(i));
  }
  EXPECT_TRUE(eventually([&] { return executor->scanned_through() >= written.back().value + 1; }));
  EXPECT_EQ(test::findings(*cache_), "");
}

TEST_F(ExecutorTest, LanesDivideTheKeys) {
  publish({trigger("*", "")});
  const auto first = start({.lane = 0, .lane_count = 2});
  const auto second = start({.lane = 1, .lane_count = 2});
  std::set<std::uint64_t> mine[2];
  for (int i = 0; i < 100; ++i) {
    const EventSeq seq = set("key" + std::to_string(i % 20), "v");
    mine[hash_of(seq) % 2].insert(seq.value);
  }
  ASSERT_FALSE(mine[0].empty() || mine[1].empty());
  std::uint64_t before = 0;
  for (const Seen& seen : reports(*first, mine[0].size())) {
    EXPECT_TRUE(mine[0].contains(seen.report.seq.value));
    EXPECT_GE(seen.report.seq.value, before);
    before = seen.report.seq.value;
  }
  for (const Seen& seen : reports(*second, mine[1].size())) {
    EXPECT_TRUE(mine[1].contains(seen.report.seq.value));
  }
}

TEST_F(ExecutorTest, RunsTriggersOfOneEventByPriority) {
  TriggerSpec low = trigger("k*", "cachee.metric('low')");
  TriggerSpec high = trigger("*", "cachee.metric('high')");
  high.priority = 5;
  publish({high, low, trigger("other", "")});
  const auto executor = start();
  set("k", "v");
  const auto seen = reports(*executor, 2);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].effects.at(0).key, "high");
  EXPECT_FALSE(seen[0].report.last);
  EXPECT_EQ(seen[1].effects.at(0).key, "low");
  EXPECT_TRUE(seen[1].report.last);
}

TEST_F(ExecutorTest, AnEventWhoseTriggersAreGoneIsSkippedOnce) {
  publish({trigger("*", "error('must not run')")});
  const EventSeq seq = set("k", "v");
  publish({});
  const auto executor = start();
  const Seen seen = one_report(*executor);
  EXPECT_EQ(seen.report.seq, seq);
  EXPECT_EQ(seen.report.status, RunStatus::skipped);
  EXPECT_EQ(seen.report.trigger_slot, RunReport::kNoTriggerSlot);
  EXPECT_TRUE(seen.report.last);
}

TEST_F(ExecutorTest, ALaterRegistrationDoesNotRunEarlierEvents) {
  publish({trigger("k*", "cachee.metric('old')")});
  const TriggerSpec old = table_.triggers[0];
  const EventSeq before = set("k", "1");
  TriggerSpec young = trigger("*", "cachee.metric('young')");
  young.slot = 1;
  young.id = ++last_id_;
  young.since_generation = trigger_generation(*cache_) + 1;
  publish({old, young});
  const EventSeq after = set("k", "2");
  const auto executor = start();
  const auto seen = reports(*executor, 3);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].report.seq, before);
  EXPECT_EQ(seen[0].effects.at(0).key, "old");
  EXPECT_TRUE(seen[0].report.last);
  EXPECT_EQ(seen[1].report.seq, after);
  EXPECT_EQ(seen[2].effects.at(0).key, "young");
}

TEST(GenerationOf, IsTheNearestThatIsNotAboveTheTables) {
  constexpr std::uint64_t kModulus = kGenerationModulus;
  EXPECT_EQ(generation_of(5, 5), 5u);
  EXPECT_EQ(generation_of(4, 5), 4u);
  EXPECT_EQ(generation_of(7000, 7000), 7000u);
  EXPECT_EQ(generation_of(0, 3 * kModulus), 3 * kModulus);
  EXPECT_EQ(generation_of(8, 3 * kModulus + 10), 3 * kModulus + 8);
  EXPECT_EQ(generation_of(8190, 3 * kModulus + 10), 2 * kModulus + 8190);
}

TEST_F(ExecutorTest, AReplacedSourceRunsForTheNextEvent) {
  publish({trigger("*", "cachee.metric('one')")});
  const auto executor = start();
  set("k", "v");
  EXPECT_EQ(one_report(*executor).effects.at(0).key, "one");
  TriggerSpec replaced = table_.triggers[0];
  replaced.id = ++last_id_;
  replaced.source = "cachee.metric('two')";
  publish({replaced});
  set("k", "v");
  const Seen seen = one_report(*executor);
  EXPECT_EQ(seen.effects.at(0).key, "two");
  EXPECT_EQ(seen.report.trigger_id, replaced.id);
}

TEST_F(ExecutorTest, ASourceThatDoesNotCompileFailsWithItsMessage) {
  publish({trigger("*", "local = 5")});
  const auto executor = start();
  set("k", "v");
  const Seen seen = one_report(*executor);
  EXPECT_EQ(seen.report.status, RunStatus::failed);
  EXPECT_EQ(seen.error, "*:1: <name> expected near '='");
}

TEST_F(ExecutorTest, AFailureHoldsBackItsKeyAndNoOther) {
  publish({trigger("*", "if event.value == 'bad' then error('no') end")});
  const auto executor = start();
  const EventSeq bad = set("a", "bad");
  const EventSeq later = set("a", "good");
  set("b", "good");
  auto seen = reports(*executor, 3);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].report.status, RunStatus::failed);
  EXPECT_EQ(seen[0].error, "*:1: no");
  EXPECT_NE(seen[0].traceback.find("in main chunk"), std::string::npos);
  EXPECT_EQ(seen[1].report.status, RunStatus::held);
  EXPECT_EQ(seen[1].report.seq, later);
  EXPECT_EQ(seen[2].report.status, RunStatus::ok);

  // The supervisor has seen the failure only: more is on its way, so the block stays.
  const std::uint64_t hash = hash_of(bad);
  ASSERT_TRUE(executor->unblock(hash, 0, bad.value + 1));
  set("a", "good");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::held);
  const EventSeq last = set("a", "good");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::held);
  ASSERT_TRUE(executor->unblock(hash, 0, last.value + 1));
  ASSERT_TRUE(executor->test(1, trigger("t", ""), EventData{}));  // behind the unblock
  EXPECT_EQ(one_report(*executor).report.token, 1U);
  set("a", "good");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::ok);
}

TEST_F(ExecutorTest, KeysThatWaitForARetryAreHeldFromTheStart) {
  publish({trigger("*", "")});
  const EventSeq a = set("a", "v");
  set("b", "v");
  ExecutorOptions options;
  for (std::uint64_t i = 0; i < 5000; ++i) options.blocked.emplace_back(i, 0);
  options.blocked.emplace_back(hash_of(a), 0);
  const auto executor = start(options);
  const auto seen = reports(*executor, 2);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].report.status, RunStatus::held);
  EXPECT_EQ(seen[1].report.status, RunStatus::ok);
}

TEST_F(ExecutorTest, APausedTriggerHoldsAndItsKeysStayHeldAfterwards) {
  publish({trigger("*", "")});
  TriggerSpec spec = table_.triggers[0];
  spec.paused = true;
  publish({spec});
  const auto executor = start();
  const EventSeq held = set("a", "1");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::held);
  spec.paused = false;
  publish({spec});
  set("b", "1");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::ok);
  const EventSeq again = set("a", "2");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::held);
  ASSERT_TRUE(executor->unblock(hash_of(held), 0, again.value + 1));
  ASSERT_TRUE(executor->test(1, trigger("t", ""), EventData{}));
  one_report(*executor);
  set("a", "3");
  EXPECT_EQ(one_report(*executor).report.status, RunStatus::ok);
}

TEST_F(ExecutorTest, EventsOfAConsumerGroupAreHandedOnAndHoldNothingBack) {
  TriggerSpec group = trigger("*", "");
  group.is_group = true;
  group.source.clear();
  publish({group, trigger("a*", "")});
  const auto executor = start();
  set("a", "1");
  set("b", "1");
  set("a", "2");
  std::vector<std::pair<std::uint32_t, RunStatus>> of_slots;
  for (const Seen& seen : reports(*executor, 5)) of_slots.emplace_back(seen.report.trigger_slot, seen.report.status);
  const std::pair group_run{0U, RunStatus::handed};
  const std::pair handler_run{1U, RunStatus::ok};
  EXPECT_EQ(of_slots, (std::vector{group_run, handler_run, group_run, group_run, handler_run}));
}

TEST_F(ExecutorTest, SamplesOneInN) {
  TriggerSpec spec = trigger("*", "");
  spec.sample = 10;
  publish({spec});
  const auto executor = start();
  for (int i = 0; i < 100; ++i) set("k" + std::to_string(i), "v");
  int run = 0;
  for (const Seen& seen : reports(*executor, 100)) {
    EXPECT_EQ(seen.report.status == RunStatus::ok, is_sampled(seen.report.seq, spec.sample));
    run += seen.report.status == RunStatus::ok ? 1 : 0;
  }
  EXPECT_GT(run, 4);
  EXPECT_LT(run, 20);
}

TEST_F(ExecutorTest, RunsStoredEvents) {
  publish({trigger("*", "cachee.set(event.key, event.value .. event.attempt)")});
  const auto executor = start();
  EventData event;
  event.key = "stored";
  event.value = "v";
  event.attempt = 3;
  event.duplicate = true;
  ASSERT_TRUE(executor->run_stored(77, 0, event));
  Seen seen = one_report(*executor);
  EXPECT_EQ(seen.report.token, 77U);
  EXPECT_EQ(seen.report.status, RunStatus::ok);
  EXPECT_EQ(seen.report.attempt, 3U);
  EXPECT_TRUE(seen.report.duplicate);
  EXPECT_EQ(seen.effects.at(0).value, "v3");
  ASSERT_TRUE(executor->run_stored(78, 9, event));
  seen = one_report(*executor);
  EXPECT_EQ(seen.report.token, 78U);
  EXPECT_EQ(seen.report.status, RunStatus::skipped);
}

TEST_F(ExecutorTest, TestsASourceThatIsNotRegistered) {
  const auto executor = start();
  EventData event;
  event.key = "k";
  ASSERT_TRUE(executor->test(5, trigger("t", "cachee.del(event.key)"), event));
  Seen seen = one_report(*executor);
  EXPECT_EQ(seen.report.token, 5U);
  EXPECT_EQ(seen.report.status, RunStatus::ok);
  EXPECT_GT(seen.report.steps, 0U);
  EXPECT_EQ(seen.effects.at(0).kind, EffectKind::del);
  ASSERT_TRUE(executor->test(6, trigger("t", "x ="), event));
  seen = one_report(*executor);
  EXPECT_EQ(seen.report.status, RunStatus::failed);
  EXPECT_EQ(seen.error, "t:1: unexpected symbol near <eof>");
}

TEST_F(ExecutorTest, ReadsTheCacheAsItIsNow) {
  publish({trigger("k",
                   "cachee.set('r', cachee.get('other') .. cachee.ttl('other') .. "
                   "tostring(cachee.exists('none')))")});
  const auto executor = start();
  ASSERT_TRUE(cache_->set("other", "value"));
  set("k", "v");
  EXPECT_EQ(one_report(*executor).effects.at(0).value, "value-1false");
}

TEST_F(ExecutorTest, EventsCarryEveryField) {
  publish({trigger("k", "cachee.log('all', event)")});
  const auto executor = start();
  ASSERT_TRUE(cache_->set("k", "old"));
  const EventSeq seq = set("k", "new", {.ttl = 60s, .cost = 12.5, .metadata = {{"user", "42"}}});
  const auto seen = reports(*executor, 2);
  ASSERT_EQ(seen.size(), 2U);
  const EventReader reader{*cache_};
  const auto view = reader.at(seq);
  ASSERT_TRUE(view);
  nlohmann::json want = to_json(copy_event(*view, reader));
  want["trigger"] = "k";
  const auto got = nlohmann::json::parse(seen[1].effects.at(0).value);
  // The executor and this test read the clocks that turn the deadline into wall time each for themselves.
  EXPECT_NEAR(got["deadline"].get<double>(), want["deadline"].get<double>(), 0.001);
  want["deadline"] = got["deadline"];
  EXPECT_EQ(got, want);
  EXPECT_EQ(got["old_value"], "old");
  EXPECT_EQ(got["metadata"]["user"], "42");
  EXPECT_EQ(got["origin"]["pid"], getpid());
}

TEST_F(ExecutorTest, LargeEffectsAndEventsPass) {
  TriggerSpec spec = trigger("*", "cachee.set('k', ('x'):rep(7 << 20))");
  spec.memory_bytes = std::uint64_t{64} << 20;
  spec.timeout_ms = 5000;
  publish({spec});
  const auto executor = start();
  for (int i = 0; i < 4; ++i) set("k" + std::to_string(i), "v");
  for (const Seen& seen : reports(*executor, 4)) {
    ASSERT_EQ(seen.report.status, RunStatus::ok) << seen.error;
    EXPECT_EQ(seen.effects.at(0).value.size(), std::size_t{7} << 20);
  }
  // While the executor waits for room for its reports, orders larger than the inbox do not make
  // the supervisor wait for the executor.
  EventData event;
  event.value.assign(std::size_t{3} << 20, 'v');
  int sent = 0;
  for (int i = 0; i < 5; ++i) {
    set("again" + std::to_string(i), "v");
    sent += executor->run_stored(static_cast<std::uint64_t>(100 + i), 0, event) ? 1 : 0;
  }
  EXPECT_GE(sent, 1);
  const auto seen = reports(*executor, static_cast<std::size_t>(5 + sent));
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(5 + sent));
}

TEST_F(ExecutorTest, ReportsThatNobodyReadsAreNoFaultOfTheRun) {
  TriggerSpec spec = trigger("*", "cachee.set('k', ('x'):rep(3 << 20))");
  spec.timeout_ms = 100;
  publish({spec});
  const auto executor = start();
  for (int i = 0; i < 8; ++i) set("k" + std::to_string(i), "v");
  // Nobody polls: the queue fills and the executor waits, far longer than a run may take.
  std::this_thread::sleep_for(500ms);
  EXPECT_FALSE(executor->watchdog(monotonic_ns(), [](std::uint32_t) { return 100U; }));
  EXPECT_EQ(reports(*executor, 8).size(), 8U);
}

TEST_F(ExecutorTest, ADeadOneIsNoticedAndReplaced) {
  publish({trigger("*", "")});
  auto executor = start();
  set("k", "1");
  const Seen first = one_report(*executor);
  kill(executor->pid(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return executor->exited().has_value(); }));
  EXPECT_EQ(executor->exited(), "killed by signal 9 (Killed)");
  EXPECT_FALSE(executor->block(1, 1));
  const EventSeq second = set("k", "2");
  const auto begin = Clock::now();
  executor =
      start({.start_position = first.report.seq.value + 1, .duplicate_before = second.value + 1});
  const Seen seen = one_report(*executor);
  RecordProperty("replacement_us", static_cast<int>((Clock::now() - begin) / 1us));
  EXPECT_EQ(seen.report.seq, second);
  EXPECT_TRUE(seen.report.duplicate);
  set("k", "3");
  EXPECT_FALSE(one_report(*executor).report.duplicate);
}

TEST_F(ExecutorTest, AStoppedOneIsKilledByTheWatchdogAndTheRunIsNamed) {
  TriggerSpec spec = trigger("*", "if event.value == 'spin' then while true do end end");
  spec.timeout_ms = 10'000;
  spec.steps = ~std::uint64_t{0};
  publish({spec});
  const auto executor = start();
  set("a", "v");
  one_report(*executor);
  const EventSeq spin = set("a", "spin");
  auto lane = segment_->keeper().lane(0);
  ASSERT_TRUE(lane);
  ASSERT_TRUE(
      eventually([&] { return lane->running().since != 0 && lane->running().seq == spin; }));
  const auto limit = [](std::uint32_t) { return 100U; };
  EXPECT_FALSE(executor->watchdog(lane->running().since + 100'000'000, limit));
  kill(executor->pid(), SIGSTOP);
  ASSERT_TRUE(eventually([&] { return executor->watchdog(monotonic_ns(), limit); }));
  ASSERT_TRUE(eventually([&] { return executor->exited().has_value(); }));
  EXPECT_TRUE(executor->was_killed());
  EXPECT_EQ(executor->exited(), "the handler was stopped: over its wall-clock limit of 100 ms");
  EXPECT_NE(kill(executor->pid(), 0), 0);
  EXPECT_EQ(lane->running().seq, spin);
  EXPECT_EQ(lane->running().trigger_slot, 0U);
}

TEST_F(ExecutorTest, OneThatStandsStillBeforeItsWorkIsKilledAndAnIdleOneIsNot) {
  publish({trigger("*", "")});
  const auto executor = start();
  set("a", "v");
  one_report(*executor);
  auto lane = segment_->keeper().lane(0);
  ASSERT_TRUE(lane);
  ASSERT_TRUE(eventually([&] { return lane->running().since == 0; }));
  kill(executor->pid(), SIGSTOP);
  const auto limit = [](std::uint32_t) { return 100U; };
  TimeNs now = monotonic_ns();
  const auto look_for_ms = [&](std::int64_t ms) {
    for (; ms > 0; ms -= 100) {
      now += 100'000'000;
      if (executor->watchdog(now, limit)) return true;
    }
    return false;
  };
  // Nothing waits for it: it may rest for as long as it likes.
  EXPECT_FALSE(look_for_ms(2 * kStillMsMax));
  set("a", "w");
  // Who looks away for long, and not the executor, may be the one that stood still.
  now += 10 * kStillMsMax * 1'000'000;
  EXPECT_FALSE(look_for_ms(kStillMsMax - 100));
  EXPECT_TRUE(look_for_ms(200));
  ASSERT_TRUE(eventually([&] { return executor->exited().has_value(); }));
  EXPECT_EQ(executor->exited(), "it has not moved for 3000 ms");
}

TEST_F(ExecutorTest, ShortLimitsHaveGraceOfTheirOwnLength) {
  publish({trigger("*", "")});
  const auto executor = start();
  kill(executor->pid(), SIGSTOP);
  auto lane = segment_->keeper().lane(0);
  ASSERT_TRUE(lane);
  const TimeNs since = monotonic_ns();
  lane->begin({EventSeq{0}, 0, since, 0});
  const auto limit = [](std::uint32_t) { return 2U; };
  EXPECT_FALSE(executor->watchdog(since + 3'999'999, limit));
  EXPECT_TRUE(executor->watchdog(since + 4'000'000, limit));
}

TEST_F(ExecutorTest, IsInJail) {
  publish({trigger("*", "")});
  const auto executor = start();
  set("k", "v");
  one_report(*executor);
  std::ifstream status{"/proc/" + std::to_string(executor->pid()) + "/status"};
  std::map<std::string, std::string> fields;
  for (std::string line; std::getline(status, line);) {
    const auto colon = line.find(":\t");
    if (colon != std::string::npos) fields[line.substr(0, colon)] = line.substr(colon + 2);
  }
  EXPECT_EQ(fields["Seccomp"], "2");
  EXPECT_EQ(fields["NoNewPrivs"], "1");
  EXPECT_EQ(fields["Threads"], "1");
  // Of what it could have inherited it has the log alone: no file, no socket, no word of the environment.
  const std::filesystem::path process{"/proc/" + std::to_string(executor->pid())};
  std::vector<std::string> open_now;
  std::error_code hidden;  // without root one may not look
  for (const auto& entry : std::filesystem::directory_iterator{process / "fd", hidden}) {
    open_now.push_back(entry.path().filename());
  }
  if (!hidden) {
    EXPECT_EQ(open_now, std::vector<std::string>{"2"});
    std::ifstream environment{process / "environ"};
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>{environment}, {}), "");
  }
  // Soft and hard limit the same: they cannot be lifted.
  std::map<std::string, std::pair<std::string, std::string>> limits;
  std::ifstream limits_file{process / "limits"};
  for (std::string line; std::getline(limits_file, line);) {
    constexpr std::size_t kNameBytes = 26;
    if (line.size() <= kNameBytes) continue;
    std::istringstream words{line.substr(kNameBytes)};
    auto& [soft, hard] = limits[line.substr(0, line.find("  "))];
    words >> soft >> hard;
  }
  for (const char* none : {"Max core file size", "Max open files", "Max processes", "Max locked memory", "Max msgqueue size"}) {
    EXPECT_EQ(limits[none], (std::pair<std::string, std::string>{"0", "0"})) << none;
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_NE(limits["Max address space"].first, "unlimited");
  EXPECT_EQ(limits["Max address space"].first, limits["Max address space"].second);
#endif
  // The segment is mapped read-only but for the page of the lanes.
  std::ifstream maps{process / "maps"};
  std::map<std::string, std::uint64_t> bytes_by_rights;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(segment_->name()) == std::string::npos) continue;
    const auto dash = line.find('-');
    const auto first = std::stoull(line.substr(0, dash), nullptr, 16);
    const auto last = std::stoull(line.substr(dash + 1), nullptr, 16);
    bytes_by_rights[line.substr(line.find(' ') + 1, 4)] += last - first;
  }
  if (!hidden) {
    const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    EXPECT_EQ(bytes_by_rights["rw-s"], page_bytes);
    EXPECT_GE(bytes_by_rights["r--s"], segment_info(*cache_)->segment_bytes - page_bytes);
    EXPECT_EQ(bytes_by_rights.size(), 2u) << "mapped with other rights as well";
  }
}

TEST_F(ExecutorTest, GoesWithItsSupervisor) {
  publish({trigger("*", "")});
  int channel[2];
  ASSERT_EQ(pipe(channel), 0);
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    auto started = Executor::start({.segment = segment_->name()});
    const int pid = started ? (*started)->pid() : -1;
    static_cast<void>(!write(channel[1], &pid, sizeof(pid)));
    for (;;) pause();
  }
  int pid = -1;
  ASSERT_EQ(read(channel[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ASSERT_GT(pid, 0);
  kill(supervisor, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(supervisor, &status, 0), supervisor);
  EXPECT_TRUE(eventually([&] {
    std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
    std::string word;
    char state = 'X';
    stat >> word >> word >> state;
    return !stat || state == 'Z' || state == 'X';
  }));
  close(channel[0]);
  close(channel[1]);
}

TEST_F(ExecutorTest, SleepsWhenThereIsNothingToDo) {
  publish({trigger("*", "")});
  const auto executor = start();
  set("k", "v");
  one_report(*executor);
  const auto ticks = [&] {
    std::ifstream stat{"/proc/" + std::to_string(executor->pid()) + "/stat"};
    std::string text{std::istreambuf_iterator<char>{stat}, {}};
    std::istringstream fields{text.substr(text.rfind(')') + 2)};
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    long user = 0;
    long system = 0;
    fields >> user >> system;
    return user + system;
  };
  const long before = ticks();
  std::this_thread::sleep_for(600ms);
  const double busy =
      static_cast<double>(ticks() - before) / static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_LE(busy, 0.06);
  set("k", "v");
  one_report(*executor);
}

TEST_F(ExecutorTest, SpinsWhenAskedTo) {
  // A rehearsal's run would be a report, too many or of another key.
  publish({trigger("*", "cachee.set('copy:' .. event.key, event.value)")});
  const auto executor = start({.spin = true});
  std::this_thread::sleep_for(100ms);  // thousands of rehearsals
  set("k", "v");
  const Seen seen = one_report(*executor);
  EXPECT_EQ(seen.report.status, RunStatus::ok);
  ASSERT_EQ(seen.effects.size(), 1U);
  EXPECT_EQ(seen.effects.front().key, "copy:k");
  std::vector<Seen> more;
  collect(*executor, more);
  EXPECT_TRUE(more.empty());
}

TEST(RehearsalTest, RunsToItsEndEachTime) {
  EmptyCacheReader cache;
  const Runtime runtime{cache};
  Rehearsal rehearsal{runtime};
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(rehearsal.run(Clock::now().time_since_epoch().count())) << i;
}

TEST_F(ExecutorTest, CannotBeStartedByHand) {
  std::string program = "x";
  std::string argument{kExecutorArgument};
  char* const words[] = {argument.data(), program.data()};
  const pid_t child = fork();
  if (child == 0) _exit(executor_main(words));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
}

// Attacks

std::string read_file(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}

std::vector<std::filesystem::path> attack_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Beyond MEMORY: the report of the run, a block that is moved as it grows, the compiler.
constexpr std::uint64_t kPeakMargin = std::uint64_t{24} << 20;

/// How a run ended, in the words of the corpus.
std::string ending(const Seen& seen) {
  if (seen.report.status == RunStatus::ok) return "ok";
  const std::pair<const char*, const char*> limits[] = {{"(STEPS)", "steps"}, {"(MEMORY)", "memory"}, {"(TIMEOUT)", "time"}};
  for (const auto& [words, end] : limits) {
    if (seen.error.ends_with(words)) return end;
  }
  return "error";
}

/// The most resident memory of a process since the last reset, from /proc.
std::uint64_t peak_bytes(int pid, bool reset) {
  const std::string folder = "/proc/" + std::to_string(pid);
  if (reset) std::ofstream{folder + "/clear_refs"} << "5";
  std::ifstream status{folder + "/status"};
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib << 10;
  }
  return 0;
}

TEST_F(ExecutorTest, EveryAttackOfTheCorpusEndsAsItMustAndNoneEndsTheProcess) {
  const auto executor = start();
  std::uint64_t token = 0;
  EventData event;
  event.key = "session:42";
  event.value = "v";
  event.metadata = {{"user", "42"}};
  for (const attacks::Attack& attack : attacks::read_attacks(CACHEE_ATTACKS_DIR)) {
    SCOPED_TRACE(attack.name);
    TriggerSpec spec = trigger("attack", attack.source);
    if (!attack.hits_a_limit()) spec.timeout_ms = attacks::kPlentyOfTimeMs;
    const std::uint64_t peak_before = peak_bytes(executor->pid(), true);
    ASSERT_TRUE(executor->test(++token, spec, event));
    const Seen seen = one_report(*executor);
    ASSERT_EQ(seen.report.token, token);
    ASSERT_FALSE(executor->exited()) << *executor->exited();
    EXPECT_LE(peak_bytes(executor->pid(), false), peak_before + spec.memory_bytes + kPeakMargin);
    EXPECT_EQ(seen.error.empty(), seen.report.status == RunStatus::ok);
    EXPECT_TRUE(attack.may_end(ending(seen))) << "ended with " << ending(seen) << ": " << seen.error;
  }
  EXPECT_GE(token, 60u);
}

TEST_F(ExecutorTest, WhatHangsInsideCIsKilledWithinTwiceItsLimitAndOthersGoOn) {
  constexpr std::uint32_t kTimeoutMs = 100;
  for (const auto& file : attack_files(std::filesystem::path{CACHEE_ATTACKS_DIR} / "watchdog")) {
    TriggerSpec attack = trigger("attack", read_file(file));
    attack.timeout_ms = kTimeoutMs;
    attack.steps = 100'000'000;
    publish({attack, trigger("plain:*", "")});
    const auto victim = start({.start_position = EventReader{*cache_}.tail()});
    auto lane = segment_->keeper().lane(0);
    ASSERT_TRUE(lane);
    const EventSeq seq = set("attack", "v");
    ASSERT_TRUE(
        eventually([&] { return lane->running().since != 0 && lane->running().seq == seq; }));
    const TimeNs since = lane->running().since;
    // Clients and other lanes do not notice.
    const auto other = start({.lane = 1, .lane_count = 2, .start_position = seq.value});
    int plain = 0;
    for (int i = 0; i < 20; ++i)
      plain += hash_of(set("plain:" + std::to_string(i), "v")) % 2 == 1 ? 1 : 0;
    const int of_attack = hash_of(seq) % 2 == 1 ? 1 : 0;
    bool stuck = false;
    std::vector<Seen> seen;
    ASSERT_TRUE(eventually([&] {
      stuck = victim->watchdog(monotonic_ns(),
                               [&](std::uint32_t slot) { return slot == 0 ? kTimeoutMs : 1000; });
      if (!stuck) collect(*victim, seen);
      return stuck || !seen.empty();
    })) << file;
    const auto spent_ms = (monotonic_ns() - since) / 1'000'000;
    RecordProperty(file.stem().string() + "_ms", static_cast<int>(spent_ms));
    EXPECT_LE(spent_ms, 2 * kTimeoutMs + 150) << file;  // the margin is this machine's scheduler
    if (stuck) {
      EXPECT_TRUE(eventually([&] { return victim->exited().has_value(); })) << file;
      EXPECT_EQ(lane->running().seq, seq);
    } else {
      EXPECT_EQ(seen.front().report.status, RunStatus::failed) << file;
      EXPECT_EQ(seen.front().error, "time limit of 100 ms exceeded (TIMEOUT)") << file;
    }
    if (of_attack == 0) {
      EXPECT_EQ(reports(*other, static_cast<std::size_t>(plain)).size(),
                static_cast<std::size_t>(plain));
    }
    EXPECT_FALSE(of_attack == 0 && other->exited().has_value());
  }
}

}  // namespace
}  // namespace cachee::daemon
