// Goal: a handler that no limit inside its executor can end costs that executor and nothing else:
// the attempt is charged, the next executor runs within 50 ms of the kill however often that
// happens, and other triggers go on meanwhile. Method: executors that are stopped (SIGSTOP) in the
// middle of a run stand for what hangs inside C: nothing of theirs can end the run (scripts that
// truly do are in executor_test.cpp). Handlers and this test read the same wall clock.
#include "store/sqlite.hpp"
#include "unit/daemon/dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

constexpr const char* kSource =
    "if event.value == 'stuck' then while true do end end "
    "cachee.log('ran', {k = event.key, at = cachee.now()})";
constexpr std::size_t kKills =
    9;  // more in a row than executors that die by themselves may, before they are made to wait
constexpr std::uint32_t kTimeoutMs = 80;
constexpr double kReplacedMsMax = 50;
// Below the pause that follows executors which die by themselves: a machine that is busy may be
// late once, not that late.
constexpr double kReplacedMsWorst = 190;

double wall_now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class WatchdogTest : public DispatcherTest {
 protected:
  WatchdogTest() { still_ms_max_ = kStillMsMax; }
  void put_stuck(std::uint32_t timeout_ms) {
    TriggerSpec stuck = spec("k:*", EventKind::write, kSource);
    stuck.timeout_ms = timeout_ms;
    stuck.retry_attempts = 1;
    stuck.steps = 100'000'000'000;
    put(stuck);
  }
  /// Stops an executor in the middle of its run; returns its pid. With several lanes: the one of
  /// `lane`.
  pid_t stop_running(std::uint32_t lane_index = 0) {
    auto lane = segment_->keeper().lane(lane_index);
    if (!lane || !eventually([&] { return lane->running().since != 0; })) return -1;
    // Executors are started in the order of their lanes.
    std::vector<pid_t> pids = executors();
    std::sort(pids.begin(), pids.end());
    const pid_t pid = pids.at(lane_index);
    return kill(pid, SIGSTOP) == 0 && lane->running().since != 0 ? pid : -1;
  }
  /// When the handler of this key ran; 0: not yet.
  double ran_at(const std::string& key) const {
    for (const std::string& line : lines("ran")) {
      const auto parsed = nlohmann::json::parse(line);
      if (parsed["k"] == key) return parsed["at"].get<double>();
    }
    return 0;
  }
};

TEST_F(WatchdogTest, TheNextExecutorRunsWithin50MsOfEachOfManyKills) {
  put_stuck(kTimeoutMs);
  Cache cache = segment_->client();
  std::vector<double> replaced_ms;
  for (std::size_t kill_number = 0; kill_number < kKills; ++kill_number) {
    const std::string n = std::to_string(kill_number);
    ASSERT_TRUE(cache.set("k:stuck" + n, "stuck"));
    const pid_t victim = stop_running();
    ASSERT_GT(victim, 0);
    ASSERT_TRUE(cache.set("k:next" + n, "v"));  // waits behind it, in the same lane
    double killed_at = 0;
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (killed_at == 0 && std::chrono::steady_clock::now() < until) {
      if (kill(victim, 0) != 0) killed_at = wall_now_s();
      std::this_thread::sleep_for(200us);
    }
    ASSERT_GT(killed_at, 0) << "the executor was not killed";
    ASSERT_TRUE(eventually([&] { return ran_at("k:next" + n) != 0; }));
    replaced_ms.push_back((ran_at("k:next" + n) - killed_at) * 1000);
  }
  std::sort(replaced_ms.begin(), replaced_ms.end());
  const double median = replaced_ms[replaced_ms.size() / 2];
  std::printf("from the kill to the next executor's first run: median %.1f ms, worst %.1f ms\n",
              median, replaced_ms.back());
  EXPECT_LE(median, kReplacedMsMax);
  EXPECT_LE(replaced_ms.back(), kReplacedMsWorst);
  const TriggerAccount row = account("k:*");
  EXPECT_EQ(row.dead, kKills);
  EXPECT_EQ(row.acknowledged, kKills);
  // The runs that nobody reported are among the figures, too.
  const auto stats = dispatcher_->trigger_stats("k:*");
  ASSERT_TRUE(stats);
  EXPECT_EQ((*stats)["failed"], kKills);
  EXPECT_GE((*stats)["run_us_max"].get<double>(), kTimeoutMs * 1000.0);
}

TEST_F(WatchdogTest, AStuckTestIsAnsweredWithTheLimitOfItsTrigger) {
  TriggerSpec stuck = spec("t:*", EventKind::write, kSource);
  stuck.timeout_ms = 120;
  stuck.steps = 100'000'000'000;
  put(stuck);
  std::thread stopper{[&] { EXPECT_GT(stop_running(), 0); }};
  const auto answer =
      dispatcher_->test_trigger("t:*", R"({"key": "t:1", "value": "stuck", "type": "write"})");
  stopper.join();
  ASSERT_FALSE(answer) << *answer;
  EXPECT_NE(answer.failure().text.find("over its wall-clock limit of 120 ms"), std::string::npos)
      << answer.failure().text;
  EXPECT_TRUE(dispatcher_->list_dead_letters(10)->empty());
}

TEST_F(WatchdogTest, AnIdleExecutorThatIsStoppedIsReplacedWhenEventsWaitForIt) {
  put_stuck(kTimeoutMs);
  Cache cache = segment_->client();
  const auto first = cache.set("k:1", "v");
  ASSERT_TRUE(first && first->event && cache.wait_acknowledged(*first->event, 10s));
  const pid_t victim = executors().at(0);
  ASSERT_EQ(kill(victim, SIGSTOP), 0);
  const auto behind = cache.set("k:2", "v");
  ASSERT_TRUE(behind && behind->event);
  EXPECT_TRUE(cache.wait_acknowledged(*behind->event, 20s)) << "its lane stands still";
  EXPECT_NE(executors().at(0), victim);
  EXPECT_EQ(account("k:*").dead, 0U);
  EXPECT_EQ(lines("ran").size(), 2U);
}

/// While it lives, the store waits for it to write.
class StoreLock {
 public:
  explicit StoreLock(const std::filesystem::path& state) : connection_{state / "cachee.db", {}} { connection_.run("BEGIN IMMEDIATE"); }
  ~StoreLock() { connection_.run("ROLLBACK"); }

 private:
  sql::Connection connection_;
};

class WatchdogBesideABusyStore : public WatchdogTest {
 protected:
  WatchdogBesideABusyStore() { dispatcher_options_.store.busy_ms = 30'000; }
  static bool is_dead(pid_t pid) {
    std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
    std::string text;
    std::getline(stat, text);
    const auto at = text.rfind(") ");
    return at == text.npos || text[at + 2] == 'Z';
  }
};

TEST_F(WatchdogBesideABusyStore, ARunOverItsTimeIsKilledWhileTheDispatcherWaits) {
  put_stuck(kTimeoutMs);
  put(spec("w:*", EventKind::write, "cachee.webhook('http://127.0.0.1:1/', 'body')"));
  Cache cache = segment_->client();
  auto lane = segment_->keeper().lane(0);
  ASSERT_TRUE(lane);
  {
    const StoreLock lock{state_};
    const auto stored = cache.set("w:1", "v");  // its outbox row has to wait for us, and the dispatcher with it
    ASSERT_TRUE(stored && stored->event);
    ASSERT_TRUE(eventually([&] { return lane->position() > stored->event->value && lane->running().since == 0; }));
    ASSERT_TRUE(cache.set("k:stuck", "stuck"));
    const pid_t victim = stop_running();
    ASSERT_GT(victim, 0);
    const auto stopped = std::chrono::steady_clock::now();
    EXPECT_TRUE(eventually([&] { return is_dead(victim); }));
    EXPECT_LE(std::chrono::steady_clock::now() - stopped, std::chrono::milliseconds{2 * kTimeoutMs} + 500ms);
    EXPECT_FALSE(cache.wait_acknowledged(*stored->event, 0ms)) << "the dispatcher did not wait";
  }
  ASSERT_TRUE(cache.set("k:next", "v"));
  EXPECT_TRUE(eventually([&] { return ran_at("k:next") != 0; }));
  EXPECT_EQ(account("k:*").dead, 1U);
}

class WatchdogOfMany : public WatchdogTest {
 protected:
  WatchdogOfMany() { executors_ = 3; }
};

TEST_F(WatchdogOfMany, EverybodyElseGoesOnWhileOneIsStuckAndAfterItsKill) {
  constexpr std::uint32_t kLongTimeoutMs = 1500;
  put_stuck(kLongTimeoutMs);
  Cache cache = segment_->client();
  const EventReader reader{cache};
  const auto lane_of = [&](EventSeq seq) { return reader.at(seq)->key_hash % executors_; };
  const auto stuck = cache.set("k:stuck", "stuck");
  ASSERT_TRUE(stuck && stuck->event);
  const auto stuck_lane = static_cast<std::uint32_t>(lane_of(*stuck->event));
  ASSERT_GT(stop_running(stuck_lane), 0);
  int behind = 0;
  for (int i = 0; i < 60; ++i) {
    const auto written = cache.set("k:" + std::to_string(i), "v");
    ASSERT_TRUE(written && written->event);
    behind += lane_of(*written->event) == stuck_lane ? 1 : 0;
    ASSERT_TRUE(cache.wait_acknowledged(*written->event, 10s)) << "it waits for the one that is stuck";
  }
  EXPECT_GT(behind, 5);
  EXPECT_LT(behind, 40);
  ASSERT_TRUE(eventually([&] { return account("k:*").dead == 1; }));
  EXPECT_EQ(lines("ran").size(), 60u);
  EXPECT_EQ(account("k:*").acknowledged, 60u);
}

}  // namespace
}  // namespace cachee::daemon
