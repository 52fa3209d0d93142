// Goal: what a handler asks for reaches the cache as it asked, or nothing of it does; what has to be on the disk first
// is there before its event is acknowledged.
//
// Method: the dispatcher with real executors. Its flushes are held up (support/disk_gate.hpp), which is also how a test
// gets in between a run and the moment in which its writes are applied.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include <cachee/inspect.hpp>
#include <nlohmann/json.hpp>

#include "dispatcher_support.hpp"
#include "support/disk_gate.hpp"

namespace cachee::daemon {
namespace {

using test::DiskGate;
using Keys = std::vector<std::string>;

class EffectsTest : public DispatcherTest {
 protected:
  /// Sets the key and waits until its event is acknowledged.
  void handle(Cache& cache, const std::string& key, const std::string& value = "v") {
    const auto written = cache.set(key, value);
    ASSERT_TRUE(written && written->event) << key;
    ASSERT_TRUE(cache.wait_acknowledged(*written->event, 10s)) << key;
  }
  std::string dead_letter_of(const std::string& trigger) {
    for (const auto& letter : *dispatcher_->list_dead_letters(100)) {
      if (letter["trigger"] == trigger) return letter["error"];
    }
    return {};
  }
  std::uint64_t retried(const std::string& trigger) { return (*dispatcher_->trigger_stats(trigger))["retried"]; }
};

TEST_F(EffectsTest, ExpireAndDependsOnAreApplied) {
  put(spec("in:*", EventKind::write, R"(
    cachee.expire("short", 120) cachee.expire("gone", 0) cachee.depends_on("page", "p2", "p1", "p3")
    cachee.set("fresh", "f", {ttl = 60, cost = 3, metadata = {m = "n"}, depends_on = {"p1", "page"}}))"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("short", "s", {.ttl = 1h}));
  ASSERT_TRUE(cache.set("gone", "g"));
  ASSERT_TRUE(cache.set("page", "body", {.ttl = 1h, .cost = 7, .metadata = {{"a", "b"}}, .depends_on = {"p0", "p1"}}));
  handle(cache, "in:1");
  EXPECT_GT(**cache.ttl("short"), 60s);
  EXPECT_LE(**cache.ttl("short"), 120s);
  EXPECT_EQ(cache.get("gone").code(), Errc::not_found);
  const auto page = cache.inspect("page");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->depends_on, (Keys{"p0", "p1", "p2", "p3"}));
  EXPECT_EQ(page->value, "body");
  EXPECT_EQ(page->cost, 7);
  EXPECT_EQ(page->metadata, (Metadata{{"a", "b"}}));
  ASSERT_TRUE(page->ttl);
  EXPECT_GT(*page->ttl, 58min);
  const auto fresh = cache.inspect("fresh");
  ASSERT_TRUE(fresh);
  EXPECT_EQ(fresh->depends_on, (Keys{"p1", "page"}));
  EXPECT_EQ(fresh->cost, 3);
  EXPECT_EQ(fresh->metadata, (Metadata{{"m", "n"}}));
  ASSERT_TRUE(fresh->ttl);
  EXPECT_GT(*fresh->ttl, 30s);
  EXPECT_LE(*fresh->ttl, 60s);
  // What it has already is not written again, however often a handler says so.
  handle(cache, "in:2");
  EXPECT_EQ(cache.inspect("page")->version, page->version);
  EXPECT_EQ(cache.inspect("page")->depends_on, page->depends_on);
}

TEST_F(EffectsTest, MoreDependenciesThanAKeyMayHaveAreAFailureInWords) {
  TriggerSpec many = spec("in:*", EventKind::write,
                          R"(for i = 1, 33 do cachee.depends_on("page", event.value .. i, event.value .. "x" .. i) end)");
  many.retry_attempts = 1;
  put(many);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("page", "body"));
  ASSERT_TRUE(cache.set("in:1", "p"));
  ASSERT_TRUE(eventually([&] { return account("in:*").dead == 1; }));
  EXPECT_NE(dead_letter_of("in:*").find("'page' would depend on more than 64 keys"), std::string::npos) << dead_letter_of("in:*");
}

TEST_F(EffectsTest, AConditionIsJudgedWhenTheWriteIsApplied) {
  put(spec("in:*", EventKind::write, R"(
    cachee.log("gate", {}) cachee.set("new", "handler", {nx = true}) cachee.set("old", "handler", {xx = true})
    cachee.set("free", "handler", {nx = true}) cachee.set("kept", "handler", {xx = true}))"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("old", "client"));
  ASSERT_TRUE(cache.set("kept", "client"));
  DiskGate gate{"/log/gate"};
  const auto written = cache.set("in:1", "v");
  ASSERT_TRUE(eventually([&] { return DiskGate::held(); }));
  // The handler has run and its four conditions held; two of them do no longer.
  ASSERT_TRUE(cache.set("new", "client"));
  ASSERT_TRUE(cache.erase("old"));
  gate.open();
  ASSERT_TRUE(cache.wait_acknowledged(*written->event, 10s));
  EXPECT_EQ(cache.get("new")->bytes, "client");
  EXPECT_EQ(cache.get("old").code(), Errc::not_found);
  EXPECT_EQ(cache.get("free")->bytes, "handler");
  EXPECT_EQ(cache.get("kept")->bytes, "handler");
  EXPECT_EQ((*dispatcher_->trigger_stats("in:*"))["failed"], 0);
}

TEST_F(EffectsTest, ADependencyIsAddedBetweenTheWritesOfOthersAndUndoesNone) {
  constexpr int kParents = 60;
  TriggerSpec adds = spec("in:*", EventKind::write, R"(cachee.depends_on("n", "p" .. event.value))");
  adds.retry_attempts = 100;
  adds.backoff_min_ms = adds.backoff_max_ms = 1;
  put(adds);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("n", "0", {.ttl = 1h}));
  std::atomic<bool> done{false};
  std::int64_t count = 0;
  std::thread writer{[&] {
    // With gaps of all lengths: some writes come between the reading and the writing of a list, and some lists get through.
    std::minstd_rand random{7};
    while (!done) {
      if (cache.increment("n")) ++count;
      const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds{random() % 20'000};
      while (std::chrono::steady_clock::now() < until) {
      }
    }
  }};
  for (int i = 0; i < kParents; ++i) EXPECT_TRUE(cache.set("in:" + std::to_string(i % 7), std::to_string(i)));
  EXPECT_TRUE(eventually([&] { return account("in:*").acknowledged == kParents; }));
  done = true;
  writer.join();
  EXPECT_EQ(cache.get("n")->bytes, std::to_string(count));
  const auto n = cache.inspect("n");
  EXPECT_EQ(n->depends_on.size(), std::size_t{kParents});
  ASSERT_TRUE(n->ttl);
  EXPECT_GT(*n->ttl, 58min);
}

TEST_F(EffectsTest, AHandlerThatWouldCloseACycleFailsAndNothingOfItIsApplied) {
  const std::map<std::string, std::pair<std::string, std::string>> refused = {
      {"stored", {"cachee.depends_on('b', 'z', 'a')", "cycle detected: b -> a -> b"}},
      {"longer", {"cachee.depends_on('c', 'a')", "cycle detected: c -> a -> b -> c"}},
      {"itself", {"cachee.depends_on('a', 'a')", "cycle detected: a -> a"}},
      {"written", {"cachee.set('b', 'v', {depends_on = 'a'})", "cycle detected: b -> a -> b"}},
      {"own", {"cachee.depends_on('x', 'y') cachee.depends_on('y', 'x')", "cycle detected: y -> x -> y"}},
      {"condition", {"cachee.set('new', 'v', {nx = true, depends_on = 'y'}) cachee.depends_on('y', 'new')",
                     "cycle detected: y -> new -> y"}},
      {"retry", {"if event.attempt == 1 then error('once') end cachee.depends_on('b', 'a')", "cycle detected: b -> a -> b"}}};
  for (const auto& [name, what] : refused) {
    TriggerSpec closes = spec("in:" + name, EventKind::write,
                              "cachee.log('left', {}) cachee.webhook('http://127.0.0.1:9/', '') cachee.set('over', 'v') " + what.first);
    closes.name = name;
    closes.backoff_min_ms = closes.backoff_max_ms = 1;
    put(closes);
  }
  // A list that goes in the same run closes nothing, and neither does one that is replaced.
  put(spec("ok:*", EventKind::write, "cachee.del('a') cachee.depends_on('b', 'a') cachee.set('d', 'v') cachee.depends_on('e', 'd')"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("a", "v", {.depends_on = {"r", "b"}}));
  ASSERT_TRUE(cache.set("b", "v", {.depends_on = {"c"}}));
  for (const char* key : {"c", "x", "y", "e"}) ASSERT_TRUE(cache.set(key, "v"));
  ASSERT_TRUE(cache.set("d", "v", {.depends_on = {"e"}}));
  for (const auto& [name, what] : refused) {
    const auto foreseen = nlohmann::json::parse(*dispatcher_->test_trigger(name, R"({"key": "in", "type": "write", "attempt": 2})"));
    EXPECT_FALSE(foreseen["ok"]) << name;
    EXPECT_EQ(foreseen["error"], what.second) << name;
    ASSERT_TRUE(cache.set("in:" + name, "v"));
    ASSERT_TRUE(eventually([&] { return account(name).dead == 1; })) << name;
    EXPECT_EQ(dead_letter_of(name), what.second);
    EXPECT_EQ(retried(name), name == "retry" ? 1u : 0u) << "it closes the cycle however often it is tried";
  }
  EXPECT_EQ(cache.get("over").code(), Errc::not_found);
  EXPECT_EQ(cache.get("new").code(), Errc::not_found);
  EXPECT_TRUE(lines("left").empty());
  EXPECT_TRUE(dispatcher_->list_outbox(10)->empty());
  EXPECT_EQ(cache.inspect("b")->depends_on, Keys{"c"});
  for (const char* key : {"c", "x", "y"}) EXPECT_TRUE(cache.inspect(key)->depends_on.empty()) << key;
  handle(cache, "ok:1");
  EXPECT_EQ(cache.inspect("b")->depends_on, (Keys{"c", "a"}));
  EXPECT_EQ(cache.inspect("e")->depends_on, Keys{"d"});
}

TEST_F(EffectsTest, TwoRunsThatAreAppliedTogetherDoNotCloseACycle) {
  put(spec("wait:*", EventKind::write, "cachee.log('gate', {})"));
  put(spec("one:*", EventKind::write, "cachee.depends_on('x', 'y')"));
  put(spec("two:*", EventKind::write, "cachee.depends_on('y', 'x')"));
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("x", "v"));
  ASSERT_TRUE(cache.set("y", "v"));
  DiskGate gate{"/log/gate"};
  ASSERT_TRUE(cache.set("wait:1", "v"));
  ASSERT_TRUE(eventually([&] { return DiskGate::held(); }));
  // The executor goes on meanwhile: both reports wait for the dispatcher and are taken in one round.
  const EventSeq one = *cache.set("one:1", "v")->event;
  const EventSeq two = *cache.set("two:1", "v")->event;
  ASSERT_TRUE(eventually([&] { return segment_->keeper().lane(0)->position() > two.value && !is_running_a_handler(); }));
  gate.open();
  ASSERT_TRUE(cache.wait_acknowledged(one, 10s));
  ASSERT_TRUE(eventually([&] { return account("two:*").dead == 1; }));
  EXPECT_EQ(dead_letter_of("two:*"), "cycle detected: y -> x -> y");
  EXPECT_EQ(cache.inspect("x")->depends_on, Keys{"y"});
  EXPECT_TRUE(cache.inspect("y")->depends_on.empty());
}

TEST_F(EffectsTest, AFailingHandlerLeavesNoTraceWhateverItDidBefore) {
  const std::pair<const char*, const char*> effects[] = {
      {"set", "cachee.set('kept', 'x') cachee.set('new', 'x', {ttl = 5})"},
      {"del", "cachee.del('kept')"},
      {"invalidate", "cachee.invalidate('kept')"},
      {"incr", "cachee.incr('n', 3)"},
      {"expire", "cachee.expire('kept', 5) cachee.expire('n', 0)"},
      {"log", "cachee.log('left', {k = event.key})"},
      {"webhook", "cachee.webhook('http://127.0.0.1:9/', 'body')"},
      {"warm", "cachee.warm('kept', 'http://127.0.0.1:9/')"},
      {"depends_on", "cachee.depends_on('kept', 'p')"},
      {"once", "assert(cachee.once('id:once', 60))"},
      {"metric", "cachee.metric('left', 2)"},
  };
  std::string all;
  const auto add = [&](const std::string& name, const std::string& calls) {
    TriggerSpec fails = spec("in:" + name, EventKind::write,
                             "if event.attempt == 1 then " + calls + " error('no') end cachee.metric('right') cachee.log('again', {name = '" + name +
                                 "', first = cachee.once('id:" + name + "', 60)})");
    fails.name = name;
    fails.backoff_min_ms = fails.backoff_max_ms = 1;
    put(fails);
  };
  for (const auto& [name, calls] : effects) {
    add(name, calls);
    all += std::string{calls} + " ";
  }
  add("all", all);
  Cache cache = segment_->client();
  ASSERT_TRUE(cache.set("kept", "v", {.ttl = 1h, .cost = 2, .depends_on = {"q"}}));
  ASSERT_TRUE(cache.set("n", "1"));
  const auto kept = cache.inspect("kept");
  const auto n = cache.inspect("n");
  for (const char* name : {"set", "del", "invalidate", "incr", "expire", "log", "webhook", "warm", "depends_on", "once", "metric", "all"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(cache.set(std::string{"in:"} + name, "v"));
    ASSERT_TRUE(eventually([&] { return (*dispatcher_->trigger_stats(name))["ok"] == 1; }));
    const auto stats = *dispatcher_->trigger_stats(name);
    EXPECT_EQ(stats["retried"], 1);
    EXPECT_EQ(stats.value("metric.right", 0.0), 1);
    EXPECT_FALSE(stats.contains("metric.left"));
    const auto kept_now = cache.inspect("kept");
    ASSERT_TRUE(kept_now);
    EXPECT_EQ(kept_now->version, kept->version);
    EXPECT_EQ(kept_now->depends_on, kept->depends_on);
    EXPECT_GT(*kept_now->ttl, 50min);
    ASSERT_TRUE(cache.inspect("n"));
    EXPECT_EQ(cache.inspect("n")->version, n->version);
    EXPECT_FALSE(cache.inspect("n")->ttl);
    EXPECT_EQ(cache.get("new").code(), Errc::not_found);
    EXPECT_TRUE(lines("left").empty());
    EXPECT_TRUE(dispatcher_->list_outbox(10)->empty());
    const auto again = nlohmann::json::parse(lines("again").back());
    EXPECT_EQ(again["name"], name);
    EXPECT_EQ(again["first"], true) << "once() counted a run that failed";
  }
  EXPECT_EQ(lines("again").size(), std::size(effects) + 1);
}

// Before the acknowledgement.

class SyncTest : public EffectsTest {
 protected:
  SyncTest() {
    dispatcher_options_.backlog_events_max = 64;
    dispatcher_options_.spool.free_bytes_min = 0;
  }
  /// Of an event in the ring: acknowledged, or released, which comes behind that.
  bool is_acknowledged(const Cache& cache, EventSeq seq) {
    const auto events = list_events(cache, 4096);
    const auto at = std::find_if(events->begin(), events->end(), [&](const PendingEvent& event) { return event.seq == seq; });
    return at == events->end() || at->acknowledged;
  }
  void register_all() {
    put(spec("log:*", EventKind::write, "cachee.log('sync', {k = event.key})"));
    put(spec("hook:*", EventKind::write, "cachee.webhook('http://127.0.0.1:9/', event.key)"));
    put(spec("spool:*", EventKind::write, ""));
  }
  /// More than the watermark, while nobody takes anything; the first of them.
  EventSeq write_backlog(Cache& cache) {
    signal_executors(SIGSTOP);
    const EventSeq first = *cache.set("spool:0", "v")->event;
    for (int i = 1; i < kBacklog; ++i) EXPECT_TRUE(cache.set("spool:" + std::to_string(i), "v"));
    return first;
  }
  static constexpr int kBacklog = 200;
};

TEST_F(SyncTest, NoEventIsAcknowledgedBeforeWhatItLeavesIsOnTheDisk) {
  register_all();
  Cache cache = segment_->client();
  const std::pair<const char*, const char*> flushes[] = {{"log:1", "/log/sync"}, {"hook:1", "cachee.db-wal"}, {"spool", "/spool/"}};
  for (const auto& [what, part] : flushes) {
    SCOPED_TRACE(what);
    DiskGate gate{part};
    const bool backlog = std::string_view{what} == "spool";
    const EventSeq seq = backlog ? write_backlog(cache) : *cache.set(what, "v")->event;
    ASSERT_TRUE(eventually([] { return DiskGate::held(); })) << "nobody flushes";
    EXPECT_FALSE(is_acknowledged(cache, seq));
    gate.open();
    EXPECT_TRUE(eventually([&] { return is_acknowledged(cache, seq); }));
    signal_executors(SIGCONT);
  }
  EXPECT_TRUE(eventually([&] { return account("spool:*").acknowledged == kBacklog; }));
  EXPECT_EQ(lines("sync").size(), 1u);
  EXPECT_EQ(dispatcher_->list_outbox(10)->size(), 1u);
}

class NoSyncTest : public SyncTest {
 protected:
  NoSyncTest() { dispatcher_options_.store.durability = sql::Durability::process; }
};

TEST_F(NoSyncTest, NothingIsFlushedForAnEventWhenItIsNotToBe) {
  register_all();
  Cache cache = segment_->client();
  handle(cache, "log:0");
  DiskGate gate{state_.filename()};  // all files; would hold up whoever flushes one
  handle(cache, "log:1");
  handle(cache, "hook:1");
  const EventSeq first = write_backlog(cache);
  EXPECT_TRUE(eventually([&] { return is_acknowledged(cache, first); }));
  gate.open();
  signal_executors(SIGCONT);
  EXPECT_TRUE(eventually([&] { return account("spool:*").acknowledged == kBacklog; }));
  EXPECT_EQ(lines("sync").size(), 2u);
  EXPECT_EQ(dispatcher_->list_outbox(10)->size(), 1u);
}

}  // namespace
}  // namespace cachee::daemon
