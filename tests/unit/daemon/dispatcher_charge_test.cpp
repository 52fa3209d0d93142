// Goal: what an executor had in hand when it died is charged once, and what it had only claimed is handed on
// untouched, with `duplicate` as [DP-6] has it.
//
// Method: kills at moments that a test cannot hit by waiting. A lane is written as the executor that dies
// would have left it; a lock on the database keeps a report from being carried out meanwhile.
#include <gtest/gtest.h>

#include "dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint64_t kBacklog = 16;
constexpr std::uint64_t kWrites = 100;

/// Values "stay" and "stay, then fail" keep the executor until there is a key "go"; the rest is logged at once.
TriggerSpec staying() {
  TriggerSpec made;
  made.name = "k";
  made.pattern = "k:*";
  made.events = event_bit(EventKind::write);
  made.source = R"(
    if event.value:find("^stay") then while not cachee.exists("go") do end end
    if event.value == "stay, then fail" and event.attempt <= 2 then error("not yet") end
    if event.value == "fail, then stay" then
      while event.attempt == 2 and not cachee.exists("go") do end
      if event.attempt <= 2 then error("not yet") end
    end
    cachee.log("runs", {attempt = event.attempt, duplicate = event.duplicate, key = event.key}))";
  made.steps = 1'000'000'000'000;
  made.timeout_ms = 60'000;
  made.backoff_min_ms = 1;
  made.backoff_max_ms = 2;
  return made;
}

class ChargeTest : public DispatcherTest {
 protected:
  ChargeTest() {
    dispatcher_options_.backlog_events_max = kBacklog;
    dispatcher_options_.spool.free_bytes_min = 0;
    dispatcher_options_.store.busy_ms = 20;
  }
  void TearDown() override {
    cache_.reset();
    DispatcherTest::TearDown();
  }
  void begin_with(std::uint32_t count) {
    stop();
    executors_ = count;
    start();
    put(staying());
    cache_.emplace(segment_->client());
    ASSERT_TRUE(eventually([&] { return executors().size() == count; }));
  }
  EventSeq set(const std::string& key, const std::string& value = "") {
    const auto written = cache_->set("k:" + key, value);
    EXPECT_TRUE(written && written->event);
    return written && written->event ? *written->event : EventSeq{};
  }
  std::uint64_t lane_of(EventSeq seq) { return segment_->keeper().reader().at(seq)->key_hash % executors_; }
  Lane::Running running(std::uint32_t lane = 0) { return segment_->keeper().lane(lane)->running(); }
  bool runs(EventSeq seq, std::uint32_t lane = 0) { return running(lane).since != 0 && running(lane).seq == seq; }
  /// So many that most go to disk.
  void write_backlog() {
    for (std::uint64_t i = 0; i < kWrites; ++i) set("backlog:" + std::to_string(i));
    ASSERT_TRUE(eventually([&] { return account("k").spooled > kWrites / 2; })) << account("k").spooled;
  }
  /// Two executors have a run in hand each when everything dies; one begins again, with the first of them.
  void crash_under_two_runs(EventSeq& first, EventSeq& other, std::string& key) {
    begin_with(2);
    other = first = set("first", "stay");
    for (int i = 0; lane_of(other) == lane_of(first); ++i) other = set(key = "other:" + std::to_string(i), "stay");
    ASSERT_TRUE(eventually([&] {
      return runs(first, static_cast<std::uint32_t>(lane_of(first))) && runs(other, static_cast<std::uint32_t>(lane_of(other)));
    }));
    crash();
    executors_ = 1;
    start();
    ASSERT_TRUE(eventually([&] { return runs(first); }));
  }
  void let_go() { ASSERT_TRUE(cache_->set("go", "")); }
  void expect_acknowledged(std::uint64_t count) {
    ASSERT_TRUE(eventually([&] { return account("k").acknowledged == count; }))
        << account("k").acknowledged << " of " << count << ", retry " << account("k").retry << ", dead " << account("k").dead;
  }
  /// What the run of a key said; it must have been logged once.
  std::string line_of(const std::string& key) {
    std::string found;
    int count = 0;
    for (const std::string& line : lines("runs")) {
      if (line.find("\"key\":\"k:" + key + '"') == std::string::npos) continue;
      found = line;
      ++count;
    }
    EXPECT_EQ(count, 1) << key;
    return found;
  }
  void expect_run(const std::string& key, int attempt, bool duplicate) {
    const std::string line = line_of(key);
    EXPECT_TRUE(line.starts_with(R"({"attempt":)" + std::to_string(attempt) + R"(,"duplicate":)" + (duplicate ? "true," : "false,"))) << line;
  }
  /// The executor reports the run that it stays in, and dies before its lane says that the run is over.
  void die_between_report_and_end() {
    const Lane::Running left = running();
    ASSERT_NE(left.since, 0);
    sql::Connection db{(state_ / "cachee.db").string(), {}};
    db.begin();
    let_go();
    ASSERT_TRUE(eventually([&] { return !is_running_a_handler(); }));
    segment_->keeper().lane(0)->begin(left);
    signal_executors(SIGKILL);
    ASSERT_TRUE(eventually([&] { return executors().empty(); })) << "nobody takes its place before its report is carried out";
    db.rollback();
  }
  std::uint64_t failed_runs() { return (*dispatcher_->trigger_stats("k"))["failed"]; }

  std::optional<Cache> cache_{};
};

// Handed on

TEST_F(ChargeTest, ARunOfTheSpoolThatACrashEndedSaysDuplicate) {
  begin_with(1);
  signal_executors(SIGSTOP);
  const EventSeq stays = set("stays", "stay");
  write_backlog();  // it is the first of it, and so on disk when half of it is
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return runs(stays); }));
  ASSERT_NE(running().token, 0u) << "it is to be one of the spool";
  crash();
  start();
  ASSERT_TRUE(eventually([&] { return runs(stays); }));
  set("after");
  let_go();
  expect_acknowledged(kWrites + 2);
  expect_run("stays", 1, true);
  expect_run("after", 1, false);
}

TEST_F(ChargeTest, ARunOfTheRingThatACrashEndedSaysDuplicateAlsoFromTheSpool) {
  EventSeq first;
  EventSeq other;
  std::string key;
  ASSERT_NO_FATAL_FAILURE(crash_under_two_runs(first, other, key));  // the other one's is not claimed any more
  write_backlog();
  let_go();
  expect_acknowledged(other.value + 1 + kWrites);
  expect_run("first", 2, true);
  const std::string line = line_of(key);
  EXPECT_NE(line.find(R"("duplicate":true)"), std::string::npos) << line;
  expect_run("backlog:0", 1, false);
}

TEST_F(ChargeTest, RunsThatWereClaimedOnlyAreHandedBackAndSayWhatTheyWouldHaveSaid) {
  EventSeq first;
  EventSeq other;
  std::string key;
  ASSERT_NO_FATAL_FAILURE(crash_under_two_runs(first, other, key));
  const EventSeq young = set("young");
  // As an executor leaves it that dies behind its claim.
  ASSERT_TRUE(segment_->keeper().lane(0)->try_advance(first.value + 1, young.value + 1));
  write_backlog();
  signal_executors(SIGKILL);
  let_go();
  expect_acknowledged(young.value + 1 + kWrites);
  expect_run("first", 3, true);
  const std::string line = line_of(key);
  EXPECT_NE(line.find(R"("duplicate":true)"), std::string::npos) << line;
  expect_run("young", 1, false);
  expect_run("backlog:0", 1, false);
}

// Charged once

TEST_F(ChargeTest, AReportedRunOfTheRingIsNotChargedAgain) {
  begin_with(1);
  const EventSeq stays = set("stays", "stay, then fail");
  ASSERT_TRUE(eventually([&] { return runs(stays); }));
  die_between_report_and_end();
  expect_acknowledged(1);
  expect_run("stays", 3, false);
  EXPECT_EQ(failed_runs(), 2u);
}

TEST_F(ChargeTest, AReportedRunOfTheStoreIsNotChargedAgain) {
  begin_with(1);
  const EventSeq stays = set("stays", "fail, then stay");
  ASSERT_TRUE(eventually([&] { return runs(stays) && running().token != 0; }));
  die_between_report_and_end();
  expect_acknowledged(1);
  expect_run("stays", 3, false);
  EXPECT_EQ(failed_runs(), 2u);
}

TEST_F(ChargeTest, AReportedRunOfTheSpoolIsNotChargedAgain) {
  begin_with(1);
  signal_executors(SIGSTOP);
  const EventSeq stays = set("stays", "stay, then fail");
  write_backlog();  // it is the first of it, and so on disk when half of it is
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return runs(stays); }));
  ASSERT_NE(running().token, 0u) << "it is to be one of the spool";
  die_between_report_and_end();
  expect_acknowledged(kWrites + 1);
  expect_run("stays", 3, false);
  EXPECT_EQ(failed_runs(), 2u);
}

}  // namespace
}  // namespace cachee::daemon
