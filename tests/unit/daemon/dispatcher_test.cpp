// Goal: events become handled, exactly once where promised, through real executor processes and
// real kills. This program is its own executor: it starts itself with --executor.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <span>
#include <thread>

#include <sys/resource.h>

#include "dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

TEST_F(DispatcherTest, AWriteBecomesALogLine) {
  put(spec("k:*", EventKind::write, "cachee.log('audit', {key = event.key, value = event.value})"));
  Cache cache = segment_->client();
  const auto written = cache.set("k:1", "one");
  ASSERT_TRUE(written);
  ASSERT_TRUE(written->event);
  ASSERT_TRUE(cache.wait_acknowledged(*written->event, 5s));
  const auto all = lines("audit");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(all[0].starts_with(R"({"key":"k:1","value":"one")")) << all[0];
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 1; }));
  EXPECT_FALSE(cache.set("other", "x")->event);
}

TEST_F(DispatcherTest, EveryKindOfEventArrivesWithTheValueThatWent) {
  TriggerSpec all = spec("k*", EventKind::write, "cachee.log('all', {t = event.type, c = event.cause, v = event.value, o = event.old_value})");
  all.events |= event_bit(EventKind::del) | event_bit(EventKind::expire) | event_bit(EventKind::read) | event_bit(EventKind::evict);
  put(all);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("k", "1"));
  ASSERT_TRUE(cache.set("k", "2"));
  ASSERT_TRUE(cache.get("k"));
  ASSERT_TRUE(cache.erase("k"));
  ASSERT_TRUE(cache.set("k", "3", {.ttl = 1ms}));
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(segment_->keeper().expire_due(std::chrono::steady_clock::now().time_since_epoch().count(), 1000), 1u);
  ASSERT_TRUE(eventually([&] { return lines("all").size() == 6; })) << lines("all").size();
  const char* expected[] = {R"({"c":"create","t":"write","v":"1",)", R"({"c":"update","o":"1","t":"write","v":"2",)",
                            R"({"c":"hit","t":"read","v":"2",)", R"({"c":"explicit","t":"delete","v":"2",)",
                            R"({"c":"create","t":"write","v":"3",)", R"({"c":"ttl","t":"expire","v":"3",)"};
  const auto got = lines("all");
  for (std::size_t i = 0; i < 6; ++i) EXPECT_TRUE(got[i].starts_with(expected[i])) << got[i];
}

TEST_F(DispatcherTest, AFailingHandlerIsRetriedInOrderAndThenBuried) {
  TriggerSpec failing = spec("f:*", EventKind::write, "if event.value == 'bad' then error('no') end cachee.log('f', {k = event.key, v = event.value})");
  failing.retry_attempts = 3;
  failing.backoff_min_ms = 5;
  failing.backoff_max_ms = 20;
  put(failing);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("f:1", "good"));
  ASSERT_TRUE(cache.set("f:1", "bad"));
  ASSERT_TRUE(cache.set("f:1", "after"));
  ASSERT_TRUE(cache.set("f:2", "other key"));
  ASSERT_TRUE(eventually([&] { return account("f:*").dead == 1 && account("f:*").acknowledged == 3; }));
  const auto all = lines("f");
  ASSERT_EQ(all.size(), 3u);
  std::vector<std::string> of_first;
  for (const auto& line : all) {
    if (line.find("f:1") != std::string::npos) of_first.push_back(line);
  }
  ASSERT_EQ(of_first.size(), 2u);
  EXPECT_NE(of_first[0].find("good"), std::string::npos);
  EXPECT_NE(of_first[1].find("after"), std::string::npos);
  // The pair is free again: the next event runs at once.
  const auto next = cache.set("f:1", "later");
  ASSERT_TRUE(cache.wait_acknowledged(*next->event, 5s));
  ASSERT_TRUE(eventually([&] { return lines("f").size() == 4; }));
  // A fixed handler takes the dead letter.
  failing.source = "cachee.log('f', {k = event.key, v = event.value, again = true})";
  put(failing);
  EXPECT_EQ(*dispatcher_->replay_dead_letters(std::nullopt), 1u);
  ASSERT_TRUE(eventually([&] { return account("f:*").dead == 0 && account("f:*").retry == 0 && lines("f").size() == 5; }));
}

TEST_F(DispatcherTest, AHandlerThatNeverReturnsIsKilledAndOthersGoOn) {
  TriggerSpec stuck = spec("s:*", EventKind::write, "while true do end");
  stuck.retry_attempts = 2;
  stuck.timeout_ms = 50;
  stuck.steps = 1000000000000;
  stuck.backoff_min_ms = stuck.backoff_max_ms = 5;
  put(stuck);
  put(spec("ok:*", EventKind::write, "cachee.log('ok', {k = event.key})"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("s:1", "x"));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(cache.set("ok:" + std::to_string(i), "x"));
  ASSERT_TRUE(eventually([&] { return lines("ok").size() == 100; }));
  ASSERT_TRUE(eventually([&] { return account("s:*").dead == 1; }));
  EXPECT_EQ(account("ok:*").acknowledged, 100u);
}

TEST_F(DispatcherTest, CacheEffectsAreAppliedAndCarryTheirChain) {
  put(spec("in:*", EventKind::write, "cachee.set('out:' .. event.key, event.value .. '!', {ttl = 60, metadata = {from = event.key}})"));
  put(spec("out:*", EventKind::write, "cachee.log('chain', {depth = event.depth, parent = event.parent, origin = event.origin.kind})"));
  Cache cache = segment_->client();
  const auto written = cache.set("in:1", "v");
  ASSERT_TRUE(cache.wait_acknowledged(*written->event, 5s));
  EXPECT_EQ(cache.get("out:in:1")->bytes, "v!");
  EXPECT_EQ(cache.inspect("out:in:1")->metadata, (Metadata{{"from", "in:1"}}));
  ASSERT_TRUE(eventually([&] { return lines("chain").size() == 1; }));
  EXPECT_NE(lines("chain")[0].find("\"depth\":1"), std::string::npos) << lines("chain")[0];
  EXPECT_NE(lines("chain")[0].find("\"origin\":\"trigger\""), std::string::npos) << lines("chain")[0];
}

TEST_F(DispatcherTest, ATriggerThatSetsOffItselfEndsInTheDeadLetters) {
  TriggerSpec loop = spec("loop:*", EventKind::write, "cachee.set(event.key .. 'x', event.value)");
  loop.depth_max = 3;
  put(loop);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("loop:", "v"));
  ASSERT_TRUE(eventually([&] { return account("loop:*").dead == 1; }));
  EXPECT_TRUE(cache.get("loop:xxx"));
  EXPECT_EQ(cache.get("loop:xxxx").code(), Errc::not_found);
}

TEST_F(DispatcherTest, KilledExecutorsLoseNothingAndRepeatOnlyAsDuplicates) {
  put(spec("k:*", EventKind::write, "cachee.log('k', {k = event.key, v = event.value})"));
  std::atomic<bool> done{false};
  std::thread killer{[&] {
    while (!done.load()) {
      std::this_thread::sleep_for(30ms);
      // Every child of ours is an executor.
      std::ifstream children{"/proc/self/task/" + std::to_string(getpid()) + "/children"};
      for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::ifstream list{task.path() / "children"};
        for (pid_t pid = 0; list >> pid;) kill(pid, SIGKILL);
      }
    }
  }};
  Cache cache = segment_->client();
  constexpr int kWrites = 3000;
  for (int i = 0; i < kWrites; ++i) {
    ASSERT_TRUE(cache.set("k:" + std::to_string(i % 50), std::to_string(i)));
    if (i % 100 == 0) std::this_thread::sleep_for(10ms);
  }
  done.store(true);
  killer.join();
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged + account("k:*").dead == kWrites; }, 20s))
      << account("k:*").acknowledged << " " << account("k:*").in_flight << " " << account("k:*").retry << " " << account("k:*").dead;
  EXPECT_EQ(account("k:*").dead, 0u);
  const auto all = lines("k");
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kWrites));
  std::map<std::string, int> last;
  for (const auto& line : all) {
    const auto k = line.substr(6, line.find('"', 6) - 6);
    const auto at = line.find("\"v\":\"") + 5;
    const int v = std::stoi(line.substr(at));
    EXPECT_GT(v, last.contains(k) ? last[k] : -1) << line;
    last[k] = v;
  }
}

TEST_F(DispatcherTest, ARestartKeepsTriggersEventsAndAccount) {
  put(spec("k:*", EventKind::write, "cachee.log('k', {v = event.value})"));
  Cache cache = segment_->client();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i), std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 100; }));
  stop();
  for (int i = 100; i < 200; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i), std::to_string(i)));
  start();
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 200; }));
  EXPECT_EQ(account("k:*").emitted, 200u);
  EXPECT_EQ(lines("k").size(), 200u);
}

TEST_F(DispatcherTest, APausedTriggerKeepsItsEventsInOrderForResume) {
  put(spec("p:*", EventKind::write, "cachee.log('p', {v = event.value})"));
  ASSERT_TRUE(dispatcher_->pause_trigger("p:*", true));
  Cache cache = segment_->client();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(cache.set("p:1", std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("p:*").retry == 20; }));
  EXPECT_TRUE(lines("p").empty());
  ASSERT_TRUE(dispatcher_->pause_trigger("p:*", false));
  for (int i = 20; i < 40; ++i) ASSERT_TRUE(cache.set("p:1", std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("p:*").acknowledged == 40; }, 20s)) << account("p:*").retry;
  const auto all = lines("p");
  ASSERT_EQ(all.size(), 40u);
  for (int i = 0; i < 40; ++i) EXPECT_NE(all[static_cast<std::size_t>(i)].find("\"" + std::to_string(i) + "\""), std::string::npos) << all[static_cast<std::size_t>(i)];
}

TEST_F(DispatcherTest, BackpressureAppliesNothing) {
  // No executor drains a trigger that is nobody's: stop the dispatcher and fill the ring.
  TriggerSpec blocking = spec("b:*", EventKind::write, "local x = 1");
  blocking.block_ms = 50;
  put(blocking);
  stop();
  Cache cache = segment_->client();
  std::uint64_t stored = 0;
  Result<WriteResult> last = Errc::ok;
  for (; stored < 100000; ++stored) {
    last = cache.set("b:" + std::to_string(stored), "v");
    if (!last) break;
  }
  EXPECT_EQ(last.code(), Errc::full);
  EXPECT_EQ(cache.get("b:" + std::to_string(stored)).code(), Errc::not_found);
  EXPECT_TRUE(cache.set("free", "v")) << "keys without a trigger are not held back";
  start();
  ASSERT_TRUE(eventually([&] { return account("b:*").acknowledged == stored; }));
  EXPECT_TRUE(cache.set("b:again", "v"));
}

TEST_F(DispatcherTest, TestRunsAHandlerWithoutConsequences) {
  put(spec("t:*", EventKind::write, "cachee.set('x', event.value) cachee.log('t', {k = event.key})"));
  const auto out = dispatcher_->test_trigger("t:*", R"({"key": "t:1", "value": "v", "type": "write"})");
  ASSERT_TRUE(out) << out.failure().text;
  EXPECT_NE(out->find("\"ok\":true"), std::string::npos) << *out;
  EXPECT_NE(out->find("\"kind\":\"set\""), std::string::npos) << *out;
  Cache cache = segment_->client();
  EXPECT_EQ(cache.get("x").code(), Errc::not_found);
  EXPECT_TRUE(lines("t").empty());
}

/// Everything that a run leaves, by kind, without what belongs to the event alone (its id).
struct Traces {
  std::vector<std::string> log{};
  std::string shadow{}, count{};
  std::vector<std::string> urls{};
  friend bool operator==(const Traces&, const Traces&) = default;
};

TEST_F(DispatcherTest, TestPredictsWhatTheRunThenDoesAndTouchesNothing) {
  const char* const source =
      "local seen = cachee.get('shadow:' .. event.key) or 'none'\n"
      "cachee.set('shadow:' .. event.key, event.value:upper(), {ttl = 60})\n"
      "assert(cachee.get('shadow:' .. event.key) == event.value:upper() and seen == 'none')\n"
      "cachee.incr('count', 3)\n"
      "cachee.log('audit', {k = event.key, first = cachee.once('id:' .. event.key, 60)})\n"
      "cachee.log('audit', {user = event.metadata.user})\n"
      "cachee.webhook('http://127.0.0.1:9/hook', {v = event.value})\n"
      "local junk = ('x'):rep(200000)\n"
      "for i = 1, 5000 do junk = i end\n";
  TriggerSpec high = spec("t:?", EventKind::write, "");
  high.name = "high";
  high.priority = 7;
  TriggerSpec off = spec("t:*", EventKind::write, "error('off')");
  off.name = "off";
  off.enabled = false;
  put(high);
  put(off);
  put(spec("t:*", EventKind::write, source));
  put(spec("t:*x", EventKind::write, ""));
  TriggerSpec deletes = spec("t:1", EventKind::del, "");
  deletes.name = "deletes";
  put(deletes);
  Cache cache = segment_->client();
  const auto traces = [&] {
    Traces now;
    for (const std::string& line : lines("audit")) {
      auto parsed = nlohmann::json::parse(line);
      parsed.erase("_event");
      now.log.push_back(parsed.dump());
    }
    if (const auto value = cache.get("shadow:t:1")) now.shadow = value->bytes;
    if (const auto value = cache.get("count")) now.count = value->bytes;
    for (const auto& row : *dispatcher_->list_outbox(10)) now.urls.push_back(row["url"]);
    return now;
  };
  const char* const event = R"({"type": "write", "key": "t:1", "value": "lamp", "metadata": {"user": "42"}})";
  nlohmann::json predicted;
  for (int turn = 0; turn < 3; ++turn) {  // it leaves nothing: the third says what the first said
    const auto answer = dispatcher_->test_trigger("t:*", event);
    ASSERT_TRUE(answer) << answer.failure().text;
    predicted = nlohmann::json::parse(*answer);
    ASSERT_TRUE(predicted["ok"]) << *answer;
    EXPECT_EQ(predicted["matches"], (nlohmann::json{"high", "t:*"}));
    EXPECT_EQ(traces(), Traces{});
    const auto stats = *dispatcher_->trigger_stats("t:*");
    EXPECT_EQ(stats["fired"], 0);
    EXPECT_EQ(stats["run_us_max"], 0);
    EXPECT_EQ(account("t:*").emitted, 0u);
    EXPECT_EQ(cache.get("shadow:t:1").code(), Errc::not_found);
    EXPECT_TRUE(dispatcher_->slow_runs(10)->empty());
  }
  Traces promised;
  for (const auto& effect : predicted["effects"]) {
    const std::string kind = effect["kind"];
    if (kind == "log") promised.log.push_back(nlohmann::json::parse(effect["value"].get<std::string>()).dump());
    if (kind == "set") promised.shadow = effect["value"];
    if (kind == "incr") promised.count = std::to_string(effect["delta"].get<int>());
    if (kind == "webhook") promised.urls.push_back(effect["url"]);
  }
  EXPECT_EQ(promised.log.size(), 2u);

  const auto written = cache.set("t:1", "lamp", {.metadata = {{"user", "42"}}});
  ASSERT_TRUE(cache.wait_acknowledged(*written->event, 5s));
  ASSERT_TRUE(eventually([&] { return (*dispatcher_->trigger_stats("t:*"))["ok"] == 1; }));
  EXPECT_EQ(traces(), promised);
  EXPECT_EQ((*dispatcher_->trigger_stats("high"))["fired"], 1);
  for (const char* name : {"off", "t:*x", "deletes"}) EXPECT_EQ((*dispatcher_->trigger_stats(name))["fired"], 0) << name;
  const auto stats = *dispatcher_->trigger_stats("t:*");
  // Instructions are counted by samples: exact within a tenth, as STEPS is.
  const auto steps = predicted["steps"].get<double>();
  EXPECT_GT(steps, 10'000);
  EXPECT_NEAR(stats["steps_max"].get<double>(), steps, 0.1 * steps);
  const auto memory = predicted["memory_bytes"].get<double>();
  EXPECT_GT(memory, 200'000);
  EXPECT_NEAR(stats["memory_peak_bytes"].get<double>(), memory, 0.2 * memory);
  EXPECT_GT(predicted["microseconds"].get<double>(), 0);
}

TEST_F(DispatcherTest, ASourceThatDoesNotCompileIsRefusedWithItsLine) {
  const auto done = dispatcher_->register_triggers({spec("k", EventKind::write, "local a = 1\nif then end")});
  ASSERT_FALSE(done);
  EXPECT_NE(done.failure().text.find(":2:"), std::string::npos) << done.failure().text;
  EXPECT_TRUE(dispatcher_->list_triggers().empty());
}

class FullCache : public DispatcherTest {
 protected:
  FullCache() { eviction_ = EvictionPolicy::none; }
};

TEST_F(FullCache, AWriteThatTheCacheRefusesIsTriedAgainWithoutThoseBeforeIt) {
  TriggerSpec counts = spec("in:*", EventKind::write,
                            "cachee.incr('count', 1) cachee.log('once', {k = event.key}) "
                            "if event.key == 'in:1' then cachee.set('large', ('x'):rep(1 << 20)) end cachee.incr('after', 1)");
  counts.retry_attempts = 1000;
  counts.backoff_min_ms = counts.backoff_max_ms = 5;
  counts.timeout_ms = 2000;
  put(counts);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("in:0", ""));  // what is small has its pages
  ASSERT_TRUE(eventually([&] { return account("in:*").acknowledged == 1; }));
  int filled = 0;
  while (filled < 64 && cache.set("fill:" + std::to_string(filled), std::string(1 << 20, 'f'))) ++filled;
  ASSERT_GT(filled, 8);
  ASSERT_LT(filled, 64) << "the cache is never full";
  ASSERT_TRUE(cache.set("in:1", "v"));
  ASSERT_TRUE(eventually([&] { return (*dispatcher_->trigger_stats("in:*"))["retried"] >= 5; }));
  EXPECT_EQ(cache.get("count")->bytes, "2");
  EXPECT_EQ(cache.get("after")->bytes, "1");
  for (int i = 0; i < filled; ++i) ASSERT_TRUE(cache.erase("fill:" + std::to_string(i)));
  ASSERT_TRUE(eventually([&] {
    static_cast<void>(cache.set("other", "v"));  // what was erased is looked through as its client goes on
    return account("in:*").acknowledged == 2;
  }));
  EXPECT_EQ(cache.get("count")->bytes, "2");
  EXPECT_EQ(cache.get("after")->bytes, "2");
  EXPECT_EQ(cache.get("large")->bytes.size(), std::size_t{1} << 20);
  EXPECT_EQ(lines("once").size(), 2u);
  EXPECT_EQ(account("in:*").dead, 0u);
}

TEST_F(DispatcherTest, AFullDiskAndACrashLeaveEachWebhookOwedOnce) {
  constexpr int kEvents = 50;
  put(spec("h:*", EventKind::write, "cachee.webhook('http://127.0.0.1:9/', {k = event.key})"));
  Cache cache = segment_->client();
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit none{0, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  for (int i = 0; i < kEvents; ++i) EXPECT_TRUE(cache.set("h:" + std::to_string(i), "v"));
  std::this_thread::sleep_for(500ms);  // two of its pauses after a failure
  const TriggerAccount full = account("h:*");
  const std::size_t rows_full = dispatcher_->list_outbox(1000)->size();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(full.acknowledged + full.dead + full.retry, 0u);
  EXPECT_EQ(full.in_flight, static_cast<std::uint64_t>(kEvents));
  EXPECT_EQ(rows_full, 0u);
  // Room again; killed somewhere on the way, it goes on.
  crash();
  start();
  ASSERT_TRUE(eventually([&] { return account("h:*").acknowledged == kEvents; }));
  std::set<std::string> owed;
  for (const auto& row : *dispatcher_->list_outbox(1000)) EXPECT_TRUE(owed.insert(row["event"]).second) << row;
  EXPECT_EQ(owed.size(), static_cast<std::size_t>(kEvents));
}

class ManyExecutors : public DispatcherTest {
 protected:
  ManyExecutors() { executors_ = 3; }
};

TEST_F(ManyExecutors, DivideTheKeysAndKeepTheirOrder) {
  put(spec("k:*", EventKind::write, "cachee.log('k', {k = event.key, v = tonumber(event.value)})"));
  Cache cache = segment_->client();
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i % 20), std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 2000; }));
  std::map<std::string, int> last;
  for (const auto& line : lines("k")) {
    const auto k = line.substr(6, line.find('"', 6) - 6);
    const int v = std::stoi(line.substr(line.find("\"v\":") + 4));
    EXPECT_GT(v, last.contains(k) ? last[k] : -1);
    last[k] = v;
  }
}

}  // namespace
}  // namespace cachee::daemon
