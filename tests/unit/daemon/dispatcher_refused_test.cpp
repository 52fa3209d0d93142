// Goal: what the cache refuses of a handler's writes is neither doubled nor lost. What could never be applied is refused
// before anything of the run is; the rest of a run that met a full ring or full memory is applied later, in the order of
// its key, without the handler, also after a crash.
//
// Method: the dispatcher with real executors, over a cache whose memory or ring the test fills and empties.
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include <nlohmann/json.hpp>

#include "dispatcher_support.hpp"
#include "support/disk_gate.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;
using test::DiskGate;

class RefusedTest : public DispatcherTest {
 protected:
  RefusedTest() { value_bytes_max_ = 1 << 20; }
  static TriggerSpec tried(std::string pattern, std::string source, std::uint32_t attempts) {
    TriggerSpec made = spec(std::move(pattern), EventKind::write, std::move(source));
    made.retry_attempts = attempts;
    made.backoff_min_ms = made.backoff_max_ms = 1;
    made.timeout_ms = 2000;
    return made;
  }
  bool is_dead(const std::string& trigger) {
    return eventually([&] { return account(trigger).dead == 1; });
  }
  bool is_over(const std::string& trigger, std::uint64_t events) {
    return eventually([&] { return account(trigger).acknowledged == events; });
  }
  json dead_letter_of(const std::string& trigger) {
    for (const auto& letter : *dispatcher_->list_dead_letters(100)) {
      if (letter["trigger"] == trigger) return *dispatcher_->show_dead_letter(letter["id"].get<std::string>());
    }
    return {};
  }
};

constexpr const char* kTooLarge = " cachee.set('big', ('x'):rep(2 << 20))";

TEST_F(RefusedTest, AWriteThatCanNeverBeAppliedLeavesNoTraceAndAReplayStartsAnew) {
  const std::pair<const char*, const char*> endings[] = {
      {"large", kTooLarge},
      {"many", "for i = 1, 33 do cachee.depends_on('page', 'a' .. i, 'b' .. i) end"},
      {"word", "cachee.incr('word')"},
      {"most", "cachee.incr('most', math.maxinteger)"}};
  put(spec("gate", EventKind::write, "cachee.log('gate', {})"));
  for (const auto& [name, ending] : endings) {
    const std::string calls =
        "cachee.log('aud', {a = event.attempt}) cachee.webhook('http://127.0.0.1:9/', '') cachee.incr('n') cachee.metric('m') ";
    TriggerSpec fails = tried("in:" + std::string{name}, calls + ending, 2);
    fails.name = name;
    put(fails);
  }
  Cache cache = segment_->client();
  for (const char* key : {"page", "word", "most"}) ASSERT_TRUE(cache.set(key, "0"));
  for (const auto& [name, ending] : endings) {
    SCOPED_TRACE(name);
    DiskGate gate{"/log/gate"};
    ASSERT_TRUE(cache.set("gate", "v"));
    ASSERT_TRUE(eventually([&] { return DiskGate::held(); }));
    const EventSeq seq = *cache.set("in:" + std::string{name}, "v")->event;
    ASSERT_TRUE(eventually([&] { return segment_->keeper().lane(0)->position() > seq.value && !is_running_a_handler(); }));
    // The handler has run, and these were numbers that it could add to.
    ASSERT_TRUE(cache.set("word", "no number"));
    ASSERT_TRUE(cache.set("most", "1"));
    gate.open();
    ASSERT_TRUE(is_dead(name));
    // More parents than a key may have are too many at every attempt.
    EXPECT_EQ(dead_letter_of(name)["attempts"], std::string_view{name} == "many" ? 1 : 2);
    EXPECT_FALSE(dead_letter_of(name).contains("effects"));
    EXPECT_EQ(cache.get("n").code(), Errc::not_found);
    EXPECT_TRUE(lines("aud").empty());
    EXPECT_TRUE(dispatcher_->list_outbox(10)->empty());
    EXPECT_FALSE(dispatcher_->trigger_stats(name)->contains("metric.m"));
    for (const char* key : {"word", "most"}) ASSERT_TRUE(cache.set(key, "0"));
  }
  TriggerSpec mended = tried("in:large", "cachee.log('aud', {a = 1}) cachee.log('aud', {a = 2}) cachee.webhook('http://127.0.0.1:9/', '') cachee.set('big', 'x')", 2);
  mended.name = "large";
  put(mended);
  const std::string id = dead_letter_of("large")["id"];
  ASSERT_TRUE(dispatcher_->replay_dead_letters(id));
  ASSERT_TRUE(is_over("large", 1));
  EXPECT_EQ(lines("aud").size(), 2u);
  EXPECT_EQ(dispatcher_->list_outbox(10)->size(), 1u);
  EXPECT_EQ(cache.get("big")->bytes, "x");
}

TEST_F(RefusedTest, AnAttemptThatIsRefusedDoesNothingOfWhatTheNextDoes) {
  put(tried("in:*",
            "local n = cachee.incr('i2:n') cachee.set('i2:seen' .. n, '1') if event.attempt == 1 then" + std::string{kTooLarge} + " end", 3));
  put(tried("once:*", "if cachee.once(event.id) then" + std::string{kTooLarge} + " cachee.set('must', '1') end", 3));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("in:1", "v"));
  ASSERT_TRUE(is_over("in:*", 1));
  EXPECT_EQ(cache.get("i2:n")->bytes, "1");
  EXPECT_TRUE(cache.get("i2:seen1"));
  EXPECT_EQ(cache.get("i2:seen2").code(), Errc::not_found);
  ASSERT_TRUE(cache.set("once:1", "v"));
  ASSERT_TRUE(is_dead("once:*")) << "once() counted an attempt that failed";
}

TEST_F(RefusedTest, AChannelThatCannotBeWrittenHoldsUpItsOwnRunsAlone) {
  put(spec("a:*", EventKind::write, "cachee.log('blk', {v = event.value}) cachee.log('runs', {v = event.value}) cachee.incr('n')"));
  put(spec("b:*", EventKind::write, "cachee.log('ok', {v = event.value})"));
  Cache cache = segment_->client();
  std::filesystem::create_directory(state_ / "log" / "blk.jsonl");
  const EventSeq first = *cache.set("a:1", "1")->event;
  const EventSeq second = *cache.set("a:1", "2")->event;
  const EventSeq other = *cache.set("b:1", "1")->event;
  EXPECT_TRUE(cache.wait_acknowledged(other, 10s));
  EXPECT_EQ(lines("ok").size(), 1u);
  ASSERT_TRUE(eventually([&] { return account("a:*").retry == 2; }));
  EXPECT_EQ(cache.get("n").code(), Errc::not_found);
  EXPECT_EQ(cache.wait_acknowledged(first, 1ms).code(), Errc::timed_out);
  crash();
  start();
  ASSERT_TRUE(cache.set("b:1", "2"));
  ASSERT_TRUE(is_over("b:*", 2));
  EXPECT_EQ(account("a:*").retry, 2u);
  std::filesystem::remove(state_ / "log" / "blk.jsonl");
  ASSERT_TRUE(is_over("a:*", 2));
  EXPECT_TRUE(cache.wait_acknowledged(second, 10s));
  for (const char* channel : {"blk", "runs"}) {
    ASSERT_EQ(lines(channel).size(), 2u) << channel;
    for (const std::size_t i : {0u, 1u}) EXPECT_EQ(json::parse(lines(channel)[i])["v"], std::to_string(i + 1)) << channel;
  }
  EXPECT_EQ(cache.get("n")->bytes, "2");
}

TEST_F(RefusedTest, AnIdThatTwoRunsClaimAtTheSameTimeGoesToOne) {
  put(spec("gate", EventKind::write, "cachee.log('gate', {})"));
  put(tried("in:*", "if cachee.once('day', 60) then cachee.incr('n') end cachee.log('in', {k = event.key})", 2));
  Cache cache = segment_->client();
  DiskGate gate{"/log/gate"};
  ASSERT_TRUE(cache.set("gate", "v"));
  ASSERT_TRUE(eventually([&] { return DiskGate::held(); }));
  EventSeq seq{};
  for (int i = 0; i < 10; ++i) seq = *cache.set("in:" + std::to_string(i), "v")->event;
  ASSERT_TRUE(eventually([&] { return segment_->keeper().lane(0)->position() > seq.value && !is_running_a_handler(); }));
  gate.open();
  ASSERT_TRUE(is_over("in:*", 10));
  EXPECT_EQ(cache.get("n")->bytes, "1");
  EXPECT_EQ(lines("in").size(), 10u);
  EXPECT_EQ(cache.get(std::string{kOnceKeyPrefix} + "day")->bytes, kOnceOver);
}

TEST_F(RefusedTest, TestSaysWhatWouldBeRefused) {
  const std::pair<std::string, std::string> refused[] = {
      {kTooLarge, "max_value"},
      {"cachee.webhook('http://127.0.0.1:9/', '', {headers = {Host = 'x'}})", "'Host' is set by Cachee alone"},
      {"cachee.warm('k', 'http://127.0.0.1:9/', {headers = {['cachee-Event-Id'] = 'x'}})", "is set by Cachee alone"},
      {"cachee.webhook('http://127.0.0.1:9/', '', {method = 'TRACE'})", "is no method"},
      {"cachee.set('k', 'v')", "MAXDEPTH 4"},
      {"cachee.warm('k', 'http://127.0.0.1:9/')", "MAXDEPTH 4"}};
  for (const auto& [source, words] : refused) {
    const auto answer = dispatcher_->test_source(source, words.starts_with("MAXDEPTH") ? R"({"key": "in", "depth": 4})" : R"({"key": "in", "depth": 3})");
    ASSERT_TRUE(answer) << answer.failure().text;
    const json said = json::parse(*answer);
    EXPECT_FALSE(said["ok"]) << source;
    EXPECT_NE(said.value("error", "").find(words), std::string::npos) << said.value("error", "");
  }
  EXPECT_TRUE(json::parse(*dispatcher_->test_source("cachee.set('k', 'v')", R"({"key": "in", "depth": 3})"))["ok"]);
}

/// Memory that is full when the test says so.
class FullMemory : public RefusedTest {
 protected:
  FullMemory() { eviction_ = EvictionPolicy::none; }
  void fill(Cache& cache) {
    filled_ = 0;
    while (filled_ < 64 && cache.set("fill:" + std::to_string(filled_), std::string(1 << 20, 'f'))) ++filled_;
    ASSERT_GT(filled_, 8);
    ASSERT_LT(filled_, 64) << "the cache is never full";
  }
  void make_room(Cache& cache) {
    for (int i = 0; i < filled_; ++i) ASSERT_TRUE(cache.erase("fill:" + std::to_string(i)));
    static_cast<void>(eventually([&] {
      static_cast<void>(cache.set("other", "v"));  // what was erased is looked through as its client goes on
      return cache.set("probe", std::string(1 << 20, 'p')).has_value();
    }));
  }
  std::uint64_t retried(const std::string& trigger) { return (*dispatcher_->trigger_stats(trigger))["retried"]; }
  /// Its second write is refused while the memory is full; no attempt is like the one before it.
  static constexpr const char* kEach = R"(
    cachee.log('runs', {a = event.attempt, d = event.duplicate}) cachee.metric('m')
    if cachee.once(event.id) then
      local n = cachee.incr('count') cachee.set('seen' .. n, '1')
      cachee.set('large', ('x'):rep(1 << 20)) cachee.set('must', '1')
    end)";
  void expect_done_once(Cache& cache) {
    EXPECT_EQ(cache.get("count")->bytes, "1");
    EXPECT_TRUE(cache.get("seen1"));
    EXPECT_TRUE(cache.get("large"));
    EXPECT_TRUE(cache.get("must"));
    ASSERT_EQ(lines("runs").size(), 1u);
    EXPECT_TRUE(lines("runs").front().starts_with(R"({"a":1,"d":false)")) << lines("runs").front();
  }
  int filled_ = 0;
};

TEST_F(FullMemory, WhatIsLeftOfARunIsAppliedWithoutTheHandler) {
  put(tried("in:*", kEach, 100000));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("seen0", "1"));
  fill(cache);
  const EventSeq seq = *cache.set("in:1", "v")->event;
  ASSERT_TRUE(eventually([&] { return retried("in:*") >= 5; }));
  EXPECT_EQ(cache.get("must").code(), Errc::not_found);
  make_room(cache);
  ASSERT_TRUE(is_over("in:*", 1));
  EXPECT_TRUE(cache.wait_acknowledged(seq, 10s));
  expect_done_once(cache);
  EXPECT_EQ((*dispatcher_->trigger_stats("in:*"))["metric.m"], 1.0);
  EXPECT_FALSE(dispatcher_->trace_chain(EventReader{cache}.event_id(seq.value + 1))->empty());
}

TEST_F(FullMemory, WhatIsLeftOutlivesACrashAndTheTrigger) {
  put(tried("in:*", kEach, 100000));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("seen0", "1"));
  fill(cache);
  ASSERT_TRUE(cache.set("in:1", "v"));
  ASSERT_TRUE(eventually([&] { return account("in:*").retry == 1; }));
  // Paused, it is not tried again until the trigger is gone.
  ASSERT_TRUE(dispatcher_->pause_trigger("in:*", true));
  crash();
  start();
  make_room(cache);
  EXPECT_EQ(cache.get("must").code(), Errc::not_found);
  ASSERT_TRUE(dispatcher_->remove_trigger("in:*"));
  ASSERT_TRUE(eventually([&] { return cache.get("must").has_value(); }));
  expect_done_once(cache);
}

TEST_F(FullMemory, ADeadLetterKeepsWhatIsLeftForAReplay) {
  put(tried("in:*", kEach, 2));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("seen0", "1"));
  fill(cache);
  ASSERT_TRUE(cache.set("in:1", "v"));
  ASSERT_TRUE(is_dead("in:*"));
  const json letter = dead_letter_of("in:*");
  EXPECT_NE(letter["error"].get<std::string>().find("without running the handler again"), std::string::npos) << letter["error"];
  std::vector<std::string> kinds;
  for (const json& effect : letter["effects"]) kinds.push_back(effect["kind"]);
  EXPECT_EQ(kinds, (std::vector<std::string>{"metric", "once", "set", "set"}));
  put(tried("in:*", "cachee.log('runs', {new = true})", 2));
  make_room(cache);
  ASSERT_TRUE(dispatcher_->replay_dead_letters(std::nullopt));
  ASSERT_TRUE(is_over("in:*", 1));
  expect_done_once(cache);
}

/// A ring that handlers fill.
class FullRing : public RefusedTest {
 protected:
  FullRing() { ring_events_ = 256; }
};

TEST_F(FullRing, AHandlersWritesKeepTheOrderOfTheirKey) {
  constexpr int kWriters = 6;
  constexpr int kWrites = 400;
  put(tried("src:*", "cachee.set('dst:' .. event.key, event.value)", 5));
  put(tried("dst:*", "cachee.log('dst', {k = event.key, v = tonumber(event.value)})", 5));
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      Cache cache = segment_->client();
      for (int i = 0; i < kWrites;) {
        if (cache.set("src:" + std::to_string(w), std::to_string(i))) ++i;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ASSERT_TRUE(eventually([&] { return account("dst:*").acknowledged == kWriters * kWrites; }, 60s)) << account("dst:*").acknowledged;
  EXPECT_GT((*dispatcher_->trigger_stats("src:*"))["retried"], 0) << "the ring was never full";
  std::map<std::string, int> last;
  for (const std::string& line : lines("dst")) {
    const json parsed = json::parse(line);
    const auto [at, first] = last.try_emplace(parsed["k"], -1);
    ASSERT_EQ(parsed["v"].get<int>(), at->second + 1) << line;
    at->second = parsed["v"];
  }
  EXPECT_EQ(last.size(), static_cast<std::size_t>(kWriters));
}

}  // namespace
}  // namespace cachee::daemon
