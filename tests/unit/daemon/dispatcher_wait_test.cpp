// Goal: WAIT tells the truth about every trigger that an event is owed to, and what a handler does
// carries the chain that set it off, whatever the operation.
//
// Method: the dispatcher with real executors; a handler that fails or is paused keeps its runs in
// the store, and the WAIT of another client is watched meanwhile.
#include <gtest/gtest.h>

#include "dispatcher_support.hpp"
#include "store/sqlite.hpp"

namespace cachee::daemon {
namespace {

TEST_F(DispatcherTest, WaitGoesOnWhileATriggerIsPausedAndEndsWithItsResume) {  // [RG-8]
  put(spec("w:*", EventKind::write, "cachee.log('w', {v = event.value})"));
  ASSERT_TRUE(dispatcher_->pause_trigger("w:*", true));
  Cache cache = segment_->client();
  const auto written = cache.set("w:1", "v");
  ASSERT_TRUE(written && written->event);
  ASSERT_TRUE(eventually([&] { return account("w:*").retry == 1; }));
  EXPECT_EQ(cache.wait_acknowledged(*written->event, 100ms).code(), Errc::timed_out);
  ASSERT_TRUE(dispatcher_->pause_trigger("w:*", false));
  EXPECT_TRUE(cache.wait_acknowledged(*written->event, 10s));
  EXPECT_EQ(lines("w").size(), 1u) << "WAIT returned before the trigger had run";
}

TEST_F(DispatcherTest, WaitIsNotOverForAnEventInTheDeadLetters) {
  TriggerSpec failing = spec("d:*", EventKind::write, "error('no')");
  failing.retry_attempts = 1;
  put(failing);
  put(spec("d:1", EventKind::write, "cachee.log('d', {v = event.value})"));
  Cache cache = segment_->client();
  const auto written = cache.set("d:1", "v");
  ASSERT_TRUE(eventually([&] { return account("d:*").dead == 1 && account("d:1").acknowledged == 1; }));
  EXPECT_EQ(cache.wait_acknowledged(*written->event, 100ms).code(), Errc::timed_out);
  failing.source = "local fixed = event.key";
  put(failing);
  ASSERT_EQ(*dispatcher_->replay_dead_letters(std::nullopt), 1u);
  EXPECT_TRUE(cache.wait_acknowledged(*written->event, 10s));
}

TEST_F(DispatcherTest, WaitForWhatLeftTheRingLongAgoIsAnsweredAlsoAfterARestart) {
  put(spec("w:*", EventKind::write, "cachee.log('w', {v = event.value})"));
  Cache cache = segment_->client();
  std::vector<EventSeq> events;
  // More than the places for questions, so that they meet in one.
  for (int i = 0; i < 200; ++i) events.push_back(*cache.set("w:" + std::to_string(i), "v")->event);
  ASSERT_TRUE(eventually([&] { return account("w:*").acknowledged == 200; }));
  for (const EventSeq event : events) EXPECT_TRUE(cache.wait_acknowledged(event, 5s)) << event.value;
  ASSERT_TRUE(dispatcher_->pause_trigger("w:*", true));
  const auto paused = cache.set("w:1", "v");
  ASSERT_TRUE(eventually([&] { return account("w:*").retry == 1; }));
  stop();
  start();
  EXPECT_EQ(cache.wait_acknowledged(*paused->event, 100ms).code(), Errc::timed_out);
  EXPECT_TRUE(cache.wait_acknowledged(events[7], 5s));
}

TEST_F(DispatcherTest, WhatAHandlerDeletesOrCountsCarriesItsChain) {
  put(spec("in:*", EventKind::write, "cachee.del('out:1') cachee.invalidate('out:2') cachee.incr('out:3', 1)"));
  TriggerSpec out = spec("out:*", EventKind::del, "cachee.log('out', {k = event.key, d = event.depth, p = event.parent, c = event.chain})");
  out.events |= event_bit(EventKind::write);
  Cache cache = segment_->client();
  for (const char* key : {"out:1", "out:2"}) ASSERT_TRUE(cache.set(key, "v"));
  ASSERT_TRUE(cache.set("out:3", "1"));
  put(out);
  const auto written = cache.set("in:1", "v");
  const std::string id = segment_->keeper().reader().event_id(written->event->value + 1);
  ASSERT_TRUE(eventually([&] { return lines("out").size() == 3; })) << lines("out").size();
  std::size_t n = 0;
  for (const std::string& line : lines("out")) {
    const std::string expected = R"({"c":")" + id + R"(","d":1,"k":"out:)" + std::to_string(++n) + R"(","p":")" + id + '"';
    EXPECT_TRUE(line.starts_with(expected)) << line << "\nnot " << expected;
  }
  // What a client does to the same keys is its own doing.
  ASSERT_TRUE(cache.increment("out:3", 1));
  ASSERT_TRUE(cache.erase("out:3"));
  ASSERT_TRUE(eventually([&] { return lines("out").size() == 5; }));
  for (const std::size_t i : {3u, 4u}) EXPECT_NE(lines("out")[i].find("\"d\":0"), std::string::npos) << lines("out")[i];
}

TEST_F(DispatcherTest, AHandlerThatSetsItsKeyAgainAtEachExpiryIsATimerAndNoLoop) {
  put(spec("timer", EventKind::expire, "cachee.set(event.key, event.value, {ttl = 0.001})"
                                       "cachee.log('ticks', {c = event.chain == event.id, d = event.depth, p = event.parent})"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("timer", "v", {.ttl = 1ms}));
  const std::size_t kTicks = 3 * TriggerSpec{}.depth_max;
  ASSERT_TRUE(eventually([&] {
    static_cast<void>(segment_->keeper().expire_due(std::chrono::steady_clock::now().time_since_epoch().count(), 10));
    return lines("ticks").size() >= kTicks;
  })) << lines("ticks").size() << ", dead " << account("timer").dead;
  for (const std::string& line : lines("ticks")) EXPECT_TRUE(line.starts_with(R"({"c":true,"d":0,"_event")")) << line;
}

TEST_F(DispatcherTest, ADeleteThatSetsOffItselfEndsInTheDeadLetters) {
  TriggerSpec loop = spec("loop:*", EventKind::del, "cachee.del(event.key .. 'x')");
  loop.depth_max = 3;
  Cache cache = segment_->client();
  for (std::string key = "loop:"; key.size() < 12; key += 'x') ASSERT_TRUE(cache.set(key, "v"));
  put(loop);
  ASSERT_TRUE(cache.erase("loop:"));
  ASSERT_TRUE(eventually([&] { return account("loop:*").dead == 1; }));
  EXPECT_EQ(cache.get("loop:xxx").code(), Errc::not_found);
  EXPECT_TRUE(cache.get("loop:xxxx"));
}

TEST_F(DispatcherTest, AKeyThatIsSetAndExpiredInOneRunDoesNotLoopPastMaxdepth) {
  TriggerSpec loop = spec("loop", EventKind::expire, "cachee.log('loop', {t = event.type, d = event.depth}) cachee.set('loop', 'v') cachee.expire('loop', 0)");
  loop.events |= event_bit(EventKind::del);
  loop.depth_max = 3;
  put(loop);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("loop", "v", {.ttl = 1ms}));
  ASSERT_TRUE(eventually([&] {
    static_cast<void>(segment_->keeper().expire_due(std::chrono::steady_clock::now().time_since_epoch().count(), 10));
    return account("loop").dead == 1;
  }));
  ASSERT_EQ(lines("loop").size(), 3u);
  EXPECT_TRUE(lines("loop")[0].starts_with(R"({"d":0,"t":"expire")")) << lines("loop")[0];
  EXPECT_TRUE(lines("loop")[1].starts_with(R"({"d":1,"t":"delete")")) << lines("loop")[1];
  EXPECT_EQ(cache.get("loop").code(), Errc::not_found);
}

TEST_F(DispatcherTest, AChainThatWarmsEndsAtMaxdepthToo) {
  put(spec("in:*", EventKind::write, "cachee.set('warm', 'v')"));
  TriggerSpec warms = spec("warm", EventKind::write, "cachee.warm('warm', 'http://127.0.0.1:9/')");
  warms.depth_max = 1;
  put(warms);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("in:1", "v"));
  ASSERT_TRUE(eventually([&] { return account("warm").dead == 1; }));
  EXPECT_TRUE(dispatcher_->list_outbox(10)->empty());
}

TEST_F(DispatcherTest, ACounterThatCountsItselfEndsInTheDeadLetters) {
  put(spec("count", EventKind::write, "cachee.incr(event.key, 1)"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("count", "0"));
  ASSERT_TRUE(eventually([&] { return account("count").dead == 1; }));
  EXPECT_EQ(cache.get("count")->bytes, "4");
}

TEST_F(DispatcherTest, TheLedgerForgetsEventsThatCannotComeAgain) {
  put(spec("k:*", EventKind::write, "cachee.log('k', {v = event.value})"));
  Cache cache = segment_->client();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i), "v"));
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 100; }));
  sql::Connection db{(state_ / "cachee.db").string(), {}};
  EXPECT_TRUE(eventually([&] { return db.integer("SELECT count(*) FROM ledger") == 0; }))
      << db.integer("SELECT count(*) FROM ledger") << " entries are left";
}

}  // namespace
}  // namespace cachee::daemon
