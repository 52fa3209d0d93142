// Goal: a run that a dispatcher before this one may have begun says `duplicate`, wherever its event has got
// to since. [DP-6]
//
// Method: a handler that stays in its run until the test lets it go, and a crash of the dispatcher meanwhile.
#include <gtest/gtest.h>

#include "dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

class DuplicateTest : public DispatcherTest {
 protected:
  /// Logs how it is run; from its `stays`-th attempt on it stays in the run until there is a key "go".
  static TriggerSpec staying(int stays) {
    TriggerSpec made = spec("k", EventKind::write,
                            "if event.attempt < " + std::to_string(stays) + R"( then error("not yet") end
                             while not cachee.exists("go") do end
                             cachee.log("runs", {attempt = event.attempt, duplicate = event.duplicate}))");
    made.steps = 1'000'000'000'000;
    made.timeout_ms = 60'000;
    made.backoff_min_ms = 1;
    made.backoff_max_ms = 2;
    return made;
  }
  /// Registers the trigger and sets it off once.
  Cache write_under(TriggerSpec trigger) {
    put(std::move(trigger));
    Cache cache = segment_->client();
    EXPECT_TRUE(cache.set("k", "v"));
    return cache;
  }
  void crash_in_the_run() {
    ASSERT_TRUE(eventually([&] { return is_running_a_handler(); }));
    crash();
    start();
  }
  std::string only_line() {
    EXPECT_TRUE(eventually([&] { return account("k").acknowledged == 1; }));
    const auto all = lines("runs");
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? std::string{} : all[0];
  }
};

TEST_F(DuplicateTest, ARunOfTheRing) {
  Cache cache = write_under(staying(1));
  crash_in_the_run();
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":2,"duplicate":true,)")) << only_line();
}

TEST_F(DuplicateTest, ARunOfTheRingWhoseNextExecutorDiedToo) {
  Cache cache = write_under(staying(1));
  crash_in_the_run();
  ASSERT_TRUE(eventually([&] { return is_running_a_handler(); }));
  signal_executors(SIGKILL);
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":3,"duplicate":true,)")) << only_line();
}

TEST_F(DuplicateTest, ARunOfTheRingAfterACrashInWhichNobodyCameToIt) {
  Cache cache = write_under(staying(1));
  crash_in_the_run();
  for (int again = 0; again < 3; ++again) {
    crash();
    segment_->keeper().lane(0)->resume(0);  // what is done for an executor before it claims anything
    start();
  }
  ASSERT_TRUE(cache.set("go", ""));
  const std::string line = only_line();
  EXPECT_NE(line.find(R"("duplicate":true)"), std::string::npos) << line;
}

TEST_F(DuplicateTest, ARunThatIsHeldBehindAnotherOfItsKey) {
  TriggerSpec failing = staying(1);
  failing.source = R"(
    if event.value == "first" and not cachee.exists("mended") then error("not yet") end
    while event.value ~= "first" and not cachee.exists("go") do end
    cachee.log("runs", {value = event.value, duplicate = event.duplicate}))";
  failing.retry_attempts = 1000;
  put(failing);
  Cache cache = segment_->client();
  // Claimed from the ring, and then behind a run that failed: the next dispatcher finds both.
  ASSERT_TRUE(cache.set("k", "second"));
  ASSERT_TRUE(eventually([&] { return is_running_a_handler(); }));
  ASSERT_TRUE(cache.set("k", "first"));
  ASSERT_TRUE(cache.set("k", "third"));
  crash();
  start();
  ASSERT_TRUE(eventually([&] { return is_running_a_handler(); }));
  signal_executors(SIGKILL);
  ASSERT_TRUE(cache.set("go", ""));
  ASSERT_TRUE(cache.set("mended", ""));
  ASSERT_TRUE(eventually([&] { return account("k").acknowledged == 3; }));
  const auto all = lines("runs");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all[0].starts_with(R"({"duplicate":true,"value":"second")")) << all[0];
  EXPECT_TRUE(all[1].starts_with(R"({"duplicate":false,"value":"first")")) << all[1];
  EXPECT_TRUE(all[2].starts_with(R"({"duplicate":false,"value":"third")")) << all[2];
}

TEST_F(DuplicateTest, ARunOfTheStore) {
  Cache cache = write_under(staying(2));
  ASSERT_TRUE(eventually([&] { return account("k").retry == 1 && is_running_a_handler(); }));
  crash_in_the_run();
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":2,"duplicate":true,)")) << only_line();
}

TEST_F(DuplicateTest, ARunOfTheRingWhoseExecutorDied) {
  Cache cache = write_under(staying(1));
  ASSERT_TRUE(eventually([&] { return is_running_a_handler(); }));
  signal_executors(SIGKILL);
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":2,"duplicate":true,)")) << only_line();
}

TEST_F(DuplicateTest, ARunOfTheStoreWhoseExecutorDied) {
  Cache cache = write_under(staying(2));
  ASSERT_TRUE(eventually([&] { return account("k").retry == 1 && is_running_a_handler(); }));
  signal_executors(SIGKILL);
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":3,"duplicate":true,)")) << only_line();
}

TEST_F(DuplicateTest, NoRunThatFailedInTheSameLife) {
  Cache cache = write_under(staying(3));
  ASSERT_TRUE(cache.set("go", ""));
  EXPECT_TRUE(only_line().starts_with(R"({"attempt":3,"duplicate":false,)")) << only_line();
}

}  // namespace
}  // namespace cachee::daemon
