// Goal: a run that takes long holds back its own key and nothing else: the other keys of its lane are handled, the ring
// does not fill behind it, nothing is charged, and what it does is done once (daemon/src/events/aside.cpp).
// Method: handlers that go on until a key is there, so nothing here is a matter of time but the limit itself.
#include "unit/daemon/dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

constexpr const char* kGatedSource =
    "if event.value == 'slow' then while not cachee.get('gate') do end end "
    "cachee.log('ran', {k = event.key, v = event.value, attempt = event.attempt, duplicate = event.duplicate})";
constexpr std::uint32_t kLongMs = 60'000;

class AsideTest : public DispatcherTest {
 protected:
  void put_slow(std::uint32_t timeout_ms) {
    TriggerSpec slow = spec("k:*", EventKind::write, kGatedSource);
    slow.timeout_ms = timeout_ms;
    slow.retry_attempts = 2;
    slow.backoff_min_ms = 1;
    slow.steps = 1'000'000'000'000;
    put(slow);
  }
  EventSeq write(Cache& cache, const std::string& key, const std::string& value) {
    const auto written = cache.set(key, value);
    EXPECT_TRUE(written && written->event) << key;
    return *written->event;
  }
  /// Others of every lane, one after the other, each within the patience of a busy machine.
  void expect_others_go_on(Cache& cache, int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(cache.wait_acknowledged(write(cache, "k:" + std::to_string(i), "v"), 20s)) << i;
    }
  }
  /// Lines of one key: (value, attempt, duplicate).
  std::vector<std::tuple<std::string, int, bool>> runs_of(const std::string& key) const {
    std::vector<std::tuple<std::string, int, bool>> runs;
    for (const std::string& line : lines("ran")) {
      const auto parsed = nlohmann::json::parse(line);
      if (parsed["k"] == key) runs.emplace_back(parsed["v"], parsed["attempt"], parsed["duplicate"]);
    }
    return runs;
  }
  std::uint64_t set_aside() { return dispatcher_->server_stats()["runs_set_aside"].get<std::uint64_t>(); }
};
using Runs = std::vector<std::tuple<std::string, int, bool>>;

TEST_F(AsideTest, ASlowRunHoldsBackItsOwnKeyOnly) {
  put_slow(kLongMs);
  Cache cache = segment_->client();
  write(cache, "k:slow", "slow");
  const EventSeq behind = write(cache, "k:slow", "behind");
  expect_others_go_on(cache, 50);
  EXPECT_EQ(lines("ran").size(), 50u);
  EXPECT_FALSE(cache.wait_acknowledged(behind, 0ms));
  EXPECT_EQ(account("k:*").retry, 2u);
  ASSERT_TRUE(cache.set("gate", "open"));
  ASSERT_TRUE(eventually([&] { return lines("ran").size() == 52; }));
  EXPECT_EQ(runs_of("k:slow"), (Runs{{"slow", 1, false}, {"behind", 1, false}}));
  EXPECT_EQ(set_aside(), 1u);
  EXPECT_TRUE(eventually([&] { return account("k:*").acknowledged == 52; }));
}

TEST_F(AsideTest, TheRingDoesNotFillBehindIt) {
  put_slow(kLongMs);
  Cache cache = segment_->client();
  const EventSeq slow = write(cache, "k:slow", "slow");
  for (int i = 0; i < 3 * 4096; ++i) {
    const auto written = cache.set("k:" + std::to_string(i % 100), "v");
    ASSERT_TRUE(written) << i << ": " << to_string(written.error());
  }
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 3 * 4096; }, 60s));
  const EventReader reader{cache};
  EXPECT_GT(reader.head(), slow.value + 4096);
  ASSERT_TRUE(cache.set("gate", "open"));
  EXPECT_TRUE(eventually([&] { return runs_of("k:slow") == Runs{{"slow", 1, false}}; }));
}

TEST_F(AsideTest, ARunFromTheSpoolIsSetAsideToo) {
  stop();
  dispatcher_options_.backlog_events_max = 16;
  start();
  put_slow(kLongMs);
  Cache cache = segment_->client();
  signal_executors(SIGSTOP);
  for (int i = 0; i < 300; ++i) write(cache, i == 150 ? "k:slow" : "k:" + std::to_string(i), i == 150 ? "slow" : "v");
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 200; }));
  signal_executors(SIGCONT);
  EXPECT_TRUE(eventually([&] { return account("k:*").acknowledged == 299; }, 30s));
  EXPECT_EQ(account("k:*").retry, 1u);
  ASSERT_TRUE(cache.set("gate", "open"));
  EXPECT_TRUE(eventually([&] { return runs_of("k:slow") == Runs{{"slow", 1, false}}; }));
}

TEST_F(AsideTest, ItsLimitIsThatOfItsTriggerAndChargesTheAttempts) {
  put_slow(500);
  Cache cache = segment_->client();
  write(cache, "k:slow", "slow");
  expect_others_go_on(cache, 20);
  ASSERT_TRUE(eventually([&] { return account("k:*").dead == 1; }, 30s));
  const auto letters = dispatcher_->list_dead_letters(10);
  ASSERT_TRUE(letters);
  EXPECT_NE(letters->dump().find("limit of 500 ms"), std::string::npos) << letters->dump();
  EXPECT_EQ((*letters)[0]["attempts"], 2);
  EXPECT_TRUE(runs_of("k:slow").empty());
  expect_others_go_on(cache, 20);
}

TEST_F(AsideTest, MoreThanThereIsPlaceForWaitForEachOtherAndForNobodyElse) {
  put_slow(kLongMs);
  Cache cache = segment_->client();
  for (int i = 0; i < 6; ++i) write(cache, "k:slow" + std::to_string(i), "slow");
  expect_others_go_on(cache, 20);
  EXPECT_EQ(account("k:*").retry, 6u);
  ASSERT_TRUE(cache.set("gate", "open"));
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 26; }, 30s));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(runs_of("k:slow" + std::to_string(i)), (Runs{{"slow", 1, false}})) << i;
}

TEST_F(AsideTest, ItsExecutorsDeathCostsAnAttemptAndNothingElse) {
  put_slow(kLongMs);
  Cache cache = segment_->client();
  const auto before = executors();
  write(cache, "k:slow", "slow");
  ASSERT_TRUE(eventually([&] { return set_aside() == 1 && executors().size() == 2; }));
  // The one that is neither of the lane's word: it runs while the lane is idle.
  expect_others_go_on(cache, 5);
  ASSERT_TRUE(eventually([&] { return segment_->keeper().lane(executors_)->running().since != 0; }));
  for (const pid_t pid : executors()) {
    if (std::find(before.begin(), before.end(), pid) == before.end()) kill(pid, SIGKILL);
  }
  ASSERT_TRUE(cache.set("gate", "open"));
  ASSERT_TRUE(eventually([&] { return !runs_of("k:slow").empty(); }));
  EXPECT_EQ(runs_of("k:slow").size(), 1u);
  EXPECT_EQ(std::get<1>(runs_of("k:slow")[0]), 2);
  expect_others_go_on(cache, 5);
}

TEST_F(AsideTest, ACacheedThatIsGoneLeavesItToTheNext) {
  put_slow(kLongMs);
  Cache cache = segment_->client();
  write(cache, "k:slow", "slow");
  ASSERT_TRUE(eventually([&] { return set_aside() == 1; }));
  expect_others_go_on(cache, 5);
  crash();
  start();
  expect_others_go_on(cache, 5);
  ASSERT_TRUE(cache.set("gate", "open"));
  ASSERT_TRUE(eventually([&] { return !runs_of("k:slow").empty(); }));
  EXPECT_EQ(runs_of("k:slow"), (Runs{{"slow", 1, true}}));
}

TEST_F(AsideTest, AShortLimitIsLeftToTheWatchdog) {
  put_slow(200);
  Cache cache = segment_->client();
  write(cache, "k:slow", "slow");
  ASSERT_TRUE(eventually([&] { return account("k:*").dead == 1; }, 30s));
  EXPECT_EQ(set_aside(), 0u);
}

}  // namespace
}  // namespace cachee::daemon
