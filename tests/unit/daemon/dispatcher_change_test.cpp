// Goal: who an event is owed to is decided when it happens. Triggers that are changed, disabled, removed or made
// meanwhile neither lose events that wait nor get events of before, or of others, and the account says so.
//
// Method: executors are stopped, or kept in a run, while events wait in the ring, in the spool or in the store.
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

class ChangeTest : public DispatcherTest {
 protected:
  void SetUp() override {
    DispatcherTest::SetUp();
    cache_.emplace(segment_->client());
    ASSERT_TRUE(eventually([&] { return executors().size() == executors_; }));
  }
  void TearDown() override {
    cache_.reset();
    DispatcherTest::TearDown();
  }
  /// Events wait from here on.
  static void hold() { signal_executors(SIGSTOP); }
  static void let_go() { signal_executors(SIGCONT); }
  void set(const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(cache_->set(prefix + std::to_string(i), "v"));
  }
  /// Logs its key to the channel `name`.
  static TriggerSpec logging(const std::string& name, const std::string& pattern) {
    TriggerSpec made = spec(pattern, EventKind::write, "cachee.log('" + name + "', {key = event.key})");
    made.name = name;
    return made;
  }
  std::set<std::string> keys_of(const std::string& channel) const {
    std::set<std::string> keys;
    for (const std::string& line : lines(channel)) keys.insert(nlohmann::json::parse(line)["key"]);
    return keys;
  }
  /// Each event in the account of the trigger, and logged to the channel once.
  void expect_handled(const std::string& name, std::uint64_t count, const std::string& channel) {
    EXPECT_TRUE(eventually([&] { return account(name).acknowledged == count; })) << account(name).acknowledged << " of " << count;
    EXPECT_EQ(account(name).emitted, count);
    EXPECT_EQ(lines(channel).size(), count);
  }

  std::optional<Cache> cache_{};
};

TEST_F(ChangeTest, AWiderPatternDoesNotRunForWhatWasWrittenBefore) {
  put(logging("t", "a:*"));
  put(logging("other", "b:*"));  // so that there are events of those keys
  hold();
  set("b:", 5);
  put(logging("t", "[ab]:*"));
  ASSERT_TRUE(cache_->set("b:new", "v"));
  ASSERT_TRUE(cache_->set("a:new", "v"));
  let_go();
  expect_handled("other", 6, "other");
  expect_handled("t", 2, "t");
  EXPECT_EQ(keys_of("t"), (std::set<std::string>{"a:new", "b:new"}));
}

TEST_F(ChangeTest, ANarrowerPatternRunsWithTheNewSourceForWhatWaits) {
  put(logging("t", "[ab]:*"));
  hold();
  set("b:", 5);
  TriggerSpec narrower = logging("t", "a:*");
  narrower.source = "cachee.log('new', {key = event.key})";
  put(narrower);
  set("b:", 5);
  set("a:", 1);
  let_go();
  expect_handled("t", 6, "new");
  EXPECT_TRUE(lines("t").empty());
}

TEST_F(ChangeTest, OtherEventsAndAnotherSampleLeaveWhatWaits) {
  put(logging("t", "a:*"));
  hold();
  set("a:", 5);
  TriggerSpec other = logging("t", "a:*");
  other.events = event_bit(EventKind::del);
  put(other);
  set("a:", 5);
  other.events = event_bit(EventKind::write);
  put(other);
  set("a:", 3);
  other.sample = ~std::uint32_t{0};
  put(other);
  let_go();
  expect_handled("t", 8, "t");
}

TEST_F(ChangeTest, DisableLeavesWhatWaitsAndMakesNoMore) {
  put(logging("t", "a:*"));
  hold();
  set("a:", 5);
  ASSERT_TRUE(dispatcher_->enable_trigger("t", false));
  set("a:", 7);
  EXPECT_EQ(account("t").in_flight, 5u);
  ASSERT_TRUE(dispatcher_->enable_trigger("t", true));
  set("a:", 2);
  ASSERT_TRUE(dispatcher_->enable_trigger("t", false));
  let_go();
  expect_handled("t", 7, "t");
}

TEST_F(ChangeTest, WhatWaitsIsOwedThroughACrash) {
  put(logging("t", "a:*"));
  hold();
  set("a:", 5);
  put(logging("t", "b:*"));
  ASSERT_TRUE(dispatcher_->enable_trigger("t", false));
  crash();
  start();
  expect_handled("t", 5, "t");
}

TEST_F(ChangeTest, TheSameTriggerMayBeChangedManyTimes) {
  put(logging("t", "a:*"));
  hold();
  constexpr std::size_t kChanges = kPastInterestsMax / 2;
  for (std::size_t i = 0; i < kChanges; ++i) {
    put(logging("t", i % 2 == 0 ? "b:*" : "a:*"));
    set(i % 2 == 0 ? "b:" : "a:", 1);
  }
  let_go();
  expect_handled("t", kChanges, "t");
}

class ChangeWithBacklog : public ChangeTest {
 protected:
  ChangeWithBacklog() {
    dispatcher_options_.backlog_events_max = 16;
    dispatcher_options_.spool.free_bytes_min = 0;
  }
};

TEST_F(ChangeWithBacklog, WhatIsSpooledIsOwedLikeWhatIsInTheRing) {
  put(logging("t", "a:*"));
  put(logging("other", "b:*"));
  hold();
  set("a:", 50);
  set("b:", 50);
  ASSERT_TRUE(eventually([&] { return account("t").spooled > 0 && account("other").spooled > 0; }));
  put(logging("t", "[bc]:*"));
  ASSERT_TRUE(dispatcher_->enable_trigger("other", false));
  set("c:", 50);
  let_go();
  expect_handled("other", 50, "other");
  expect_handled("t", 100, "t");
  EXPECT_FALSE(keys_of("t").contains("b:0"));
}

// Slots

class RemovedTriggerTest : public ChangeTest {
 protected:
  RemovedTriggerTest() { executors_ = 2; }
  static TriggerSpec patient(TriggerSpec trigger) {
    trigger.timeout_ms = 60'000;
    trigger.steps = 1'000'000'000'000;
    trigger.backoff_min_ms = trigger.backoff_max_ms = 1;
    return trigger;
  }
  bool is_running_one() {
    for (std::uint32_t i = 0; i < executors_; ++i) {
      if (segment_->keeper().lane(i)->running().since != 0) return true;
    }
    return false;
  }
};

TEST_F(RemovedTriggerTest, LeavesNothingInTheAccountOfTheNext) {
  TriggerSpec staying = patient(spec("s", EventKind::write, "while not cachee.exists('go') do end"));
  put(staying);
  TriggerSpec failing = patient(logging("x", "x:*"));
  failing.source = "error('never')";
  failing.backoff_min_ms = failing.backoff_max_ms = 60'000;
  put(failing);
  ASSERT_TRUE(cache_->set("s", "v"));
  ASSERT_TRUE(eventually([&] { return is_running_one(); }));
  // The head of the ring stays where it is; those of the other executor are moved behind it.
  set("x:", 16);
  ASSERT_TRUE(eventually([&] { return account("x").retry > 0; }));
  ASSERT_TRUE(dispatcher_->remove_trigger("x"));
  put(logging("y", "y:*"));
  EXPECT_EQ(account("y").emitted, 0u);
  ASSERT_TRUE(cache_->set("go", "v"));
  ASSERT_TRUE(eventually([&] { return segment_->keeper().reader().head() == segment_->keeper().reader().tail(); }));
  EXPECT_EQ(account("y").emitted, 0u);
  set("y:", 3);
  expect_handled("y", 3, "y");
}

TEST_F(RemovedTriggerTest, LeavesNoRunToTheNext) {
  TriggerSpec staying = patient(logging("x", "x:*"));
  staying.source = "while not cachee.exists('go') do end error('no')";
  put(staying);
  ASSERT_TRUE(cache_->set("x:1", "v"));
  ASSERT_TRUE(eventually([&] { return is_running_one(); }));
  ASSERT_TRUE(dispatcher_->remove_trigger("x"));
  put(logging("y", "y:*"));
  ASSERT_TRUE(cache_->set("go", "v"));
  ASSERT_TRUE(eventually([&] { return !is_running_one() && segment_->keeper().reader().head() == segment_->keeper().reader().tail(); }));
  set("y:", 1);
  expect_handled("y", 1, "y");
  EXPECT_EQ(keys_of("y"), (std::set<std::string>{"y:0"}));
}

TEST_F(RemovedTriggerTest, LeavesNoStoredRunToTheNext) {
  TriggerSpec staying = patient(logging("x", "x:*"));
  staying.source = "if event.attempt > 1 then while not cachee.exists('go') do end end error('no')";
  put(staying);
  ASSERT_TRUE(cache_->set("x:1", "v"));
  ASSERT_TRUE(eventually([&] { return account("x").retry == 1 && is_running_one(); }));
  ASSERT_TRUE(dispatcher_->remove_trigger("x"));
  put(logging("y", "y:*"));
  ASSERT_TRUE(cache_->set("go", "v"));
  ASSERT_TRUE(eventually([&] { return dispatcher_->server_stats()["stored_runs_in_hand"] == 0; }));
  set("y:", 1);
  expect_handled("y", 1, "y");
  EXPECT_TRUE(dispatcher_->list_dead_letters(10)->empty() || (*dispatcher_->list_dead_letters(10))[0]["trigger"] == "x");
}

TEST_F(RemovedTriggerTest, GivesItsSlotBackWhenItsEventsAreOver) {
  stop();
  cache_.reset();
  SegmentOptions options;
  options.memory_bytes = 4 << 20;
  segment_.emplace(options);
  start();
  cache_.emplace(segment_->client());
  const std::uint32_t rounds = 2 * segment_->keeper().trigger_slots_max() / 100 + 1;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    std::vector<TriggerSpec> many;
    for (int i = 0; i < 100; ++i) many.push_back(logging("t" + std::to_string(i), "a:" + std::to_string(i)));
    const auto done = dispatcher_->register_triggers(many);
    ASSERT_TRUE(done) << round << ": " << done.failure().text;
    ASSERT_TRUE(cache_->set("a:1", "v"));
    ASSERT_TRUE(eventually([&] { return segment_->keeper().reader().head() == segment_->keeper().reader().tail(); }));
    for (const TriggerSpec& spec : many) ASSERT_TRUE(dispatcher_->remove_trigger(spec.name));
  }
}

// Many

TEST_F(ChangeTest, MoreTriggersOfOneEventThanOneReleaseCounts) {
  constexpr int kTriggers = 300;
  std::vector<TriggerSpec> many;
  for (int i = 0; i < kTriggers; ++i) many.push_back(logging("t" + std::to_string(i), "k:*"));
  const auto done = dispatcher_->register_triggers(many);
  ASSERT_TRUE(done) << done.failure().text;
  set("k:", 3);
  ASSERT_TRUE(eventually([&] { return segment_->keeper().reader().head() == 3; })) << segment_->keeper().reader().head();
  expect_handled("t0", 3, "t0");
  expect_handled("t299", 3, "t299");
  ASSERT_TRUE(dispatcher_->remove_trigger("t0"));
}

// A full ring

class FullRingTest : public ChangeTest {
 protected:
  FullRingTest() { dispatcher_options_.backlog_events_max = dispatcher_options_.pinned_bytes_max = 1 << 30; }  // nothing is spooled
  void fill() {
    TriggerSpec filling = logging("b", "b:*");
    filling.block_ms = 1;
    put(filling);
    hold();
    while (cache_->set("b:" + std::to_string(written_), "v")) ++written_;
    ASSERT_GT(written_, 1000u);
  }
  std::uint64_t written_ = 0;
};

TEST_F(FullRingTest, PauseDisableAndRemoveNeedNoRoom) {
  fill();
  const auto begun = std::chrono::steady_clock::now();
  for (const bool on : {true, false}) {
    const auto paused = dispatcher_->pause_trigger("b", on);
    EXPECT_TRUE(paused) << paused.failure().text;
  }
  const auto disabled = dispatcher_->enable_trigger("b", false);
  EXPECT_TRUE(disabled) << disabled.failure().text;
  EXPECT_TRUE(cache_->set("b:free", "v")) << "nobody wants its event any more";
  let_go();
  expect_handled("b", written_, "b");
  ASSERT_TRUE(dispatcher_->remove_trigger("b"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
}

TEST_F(FullRingTest, ARegistrationWaitsForRoomAndNobodyForIt) {
  fill();
  std::promise<void> asked;
  auto registered = std::async(std::launch::async, [&] {
    asked.set_value();
    return dispatcher_->register_triggers({logging("c", "c:*")});
  });
  asked.get_future().wait();
  // The dispatcher answers, and does its work: that alone makes the room.
  EXPECT_EQ(account("b").in_flight, written_);
  EXPECT_EQ(registered.wait_for(0s), std::future_status::timeout) << "it was full";
  let_go();
  const auto done = registered.get();
  EXPECT_TRUE(done) << done.failure().text;
  set("c:", 1);
  expect_handled("c", 1, "c");
}

TEST_F(FullRingTest, ARegistrationThatFindsNoRoomInTimeIsRefused) {
  fill();
  const auto done = dispatcher_->register_triggers({logging("c", "c:*")});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.failure().code, Errc::timed_out);
  EXPECT_FALSE(dispatcher_->find_trigger("c"));
  let_go();
  expect_handled("b", written_, "b");
}

TEST_F(ChangeTest, ADeadLetterOfARemovedTriggerStaysUntilThereIsOneOfItsName) {
  TriggerSpec failing = logging("t", "a:*");
  failing.source = "error('no')";
  failing.retry_attempts = 1;
  put(failing);
  set("a:", 1);
  ASSERT_TRUE(eventually([&] { return account("t").dead == 1; }));
  ASSERT_TRUE(dispatcher_->remove_trigger("t"));
  const std::string id = (*dispatcher_->list_dead_letters(10))[0]["id"];
  const auto one = dispatcher_->replay_dead_letters(id);
  ASSERT_FALSE(one);
  EXPECT_NE(one.failure().text.find("trigger t"), std::string::npos) << one.failure().text;
  EXPECT_EQ(dispatcher_->replay_dead_letters("e999").failure().code, Errc::not_found);
  const auto all = dispatcher_->replay_dead_letters(std::nullopt);
  ASSERT_FALSE(all);
  EXPECT_NE(all.failure().text.find("trigger t"), std::string::npos) << all.failure().text;
  EXPECT_EQ(dispatcher_->list_dead_letters(10)->size(), 1u);
  put(logging("t", "a:*"));
  EXPECT_EQ(*dispatcher_->replay_dead_letters(std::nullopt), 1u);
  expect_handled("t", 1, "t");
}

TEST_F(ChangeTest, ASampleDoesNotDependOnTheTurnsOfOperations) {
  TriggerSpec writes = spec("k", EventKind::write, "");
  writes.name = "writes";
  TriggerSpec reads = spec("k", EventKind::read, "");
  reads.name = "reads";
  writes.sample = reads.sample = 2;
  put(writes);
  put(reads);
  constexpr int kTurns = 200;
  for (int i = 0; i < kTurns; ++i) {
    ASSERT_TRUE(cache_->set("k", "v"));
    ASSERT_TRUE(cache_->get("k"));
  }
  ASSERT_TRUE(eventually([&] { return segment_->keeper().reader().head() == 2 * kTurns; }));
  for (const char* name : {"writes", "reads"}) {
    EXPECT_GT(account(name).emitted, kTurns / 4u) << name;
    EXPECT_LT(account(name).emitted, kTurns * 3u / 4) << name;
  }
}

TEST_F(ChangeTest, APausedTriggerThatIsRegisteredAgainStaysPaused) {
  put(logging("t", "a:*"));
  ASSERT_TRUE(dispatcher_->pause_trigger("t", true));
  TriggerSpec again = logging("t", "a:*");
  again.source += " -- mended";
  put(again);
  EXPECT_TRUE(dispatcher_->find_trigger("t")->paused);
  set("a:", 3);
  ASSERT_TRUE(eventually([&] { return account("t").retry == 3; }));
  ASSERT_TRUE(dispatcher_->pause_trigger("t", false));
  expect_handled("t", 3, "t");
}

}  // namespace
}  // namespace cachee::daemon
