// Goal: a backlog goes to disk before the ring is full and comes back in order; what a trigger asked to
// be shed is counted and told; the account is exact at every sample, through kills of everybody.
//
// Method: the dispatcher with real executors, made slow by a handler or stopped by a signal, with low
// watermarks. A "crash" of the dispatcher drops it between two rounds.
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <set>

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "dispatcher_support.hpp"

namespace cachee::daemon {
namespace {

class BacklogTest : public DispatcherTest {
 protected:
  BacklogTest() {
    dispatcher_options_.backlog_events_max = 64;
    dispatcher_options_.spool.free_bytes_min = 0;
    dispatcher_options_.spool.file_bytes = 16384;
  }
  /// Lines of a channel as (key, value), and each key's values must ascend.
  std::map<std::string, std::vector<int>> values(const std::string& channel) const {
    std::map<std::string, std::vector<int>> of_key;
    for (const std::string& line : lines(channel)) {
      const auto json = nlohmann::json::parse(line);
      of_key[json["k"]].push_back(json["v"]);
    }
    return of_key;
  }
  void expect_all_in_order(const std::string& channel, int count, int keys) {
    const auto got = values(channel);
    int total = 0;
    for (const auto& [key, list] : got) {
      total += static_cast<int>(list.size());
      for (std::size_t i = 1; i < list.size(); ++i) ASSERT_EQ(list[i], list[i - 1] + keys) << key;
    }
    EXPECT_EQ(total, count);
  }
  static std::string logger(const char* channel) {
    return std::string{"cachee.log('"} + channel + "', {k = event.key, v = tonumber(event.value)})";
  }
  std::size_t spool_files() const {
    std::error_code gone;
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{state_ / "spool", gone}) ++count;
    return count;
  }
};

TEST_F(BacklogTest, GoesToDiskWhileTheExecutorIsStoppedAndComesBackInOrder) {
  put(spec("k:*", EventKind::write, logger("k")));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  // Far more than the ring holds: the writer meets room all the time.
  constexpr int kWrites = 10000;
  for (int i = 0; i < kWrites; ++i) {
    ASSERT_TRUE(cache.set("k:" + std::to_string(i % 20), std::to_string(i))) << i;
    if (i % 1000 == 999) {
      EXPECT_EQ(account("k:*").emitted, static_cast<std::uint64_t>(i + 1));
    }
  }
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > kWrites - 1000; })) << account("k:*").spooled;
  EXPECT_GT(spool_files(), 1u) << "how many depends on how fast they are filled";
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == kWrites; }, 60s)) << account("k:*").acknowledged;
  expect_all_in_order("k", kWrites, 20);
  // From the ring again.
  ASSERT_TRUE(eventually([&] { return spool_files() == 0; }));
  const auto next = cache.set("k:1", "77");
  EXPECT_TRUE(cache.wait_acknowledged(*next->event, 5s));
}

TEST_F(BacklogTest, KeepsOrderWhenRunsOfItFailAndItsExecutorDies) {
  // One key fails at its first attempts, another kills its executor once.
  TriggerSpec shaky = spec("k:*", EventKind::write, R"(
    if event.key == "k:3" and event.attempt == 1 and tonumber(event.value) % 7 == 0 then error("shaky") end
    if event.value == "444" and event.attempt == 1 then while true do end end
    cachee.log('k', {k = event.key, v = tonumber(event.value)}))");
  shaky.retry_attempts = 20;
  shaky.backoff_min_ms = 1;
  shaky.backoff_max_ms = 5;
  shaky.timeout_ms = 50;
  shaky.steps = 1000000000000;
  put(shaky);
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  constexpr int kWrites = 2000;
  for (int i = 0; i < kWrites; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i % 10), std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 1000; }));
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == kWrites; }, 60s))
      << account("k:*").acknowledged << " retry " << account("k:*").retry << " dead " << account("k:*").dead << " spooled "
      << account("k:*").spooled;
  expect_all_in_order("k", kWrites, 10);
}

TEST_F(BacklogTest, OutlivesKillsOfExecutorsAndDispatcherAtAnyMoment) {
  TriggerSpec log = spec("k:*", EventKind::write, logger("k"));
  log.retry_attempts = 100;  // a kill is charged as an attempt
  log.backoff_min_ms = 1;
  log.backoff_max_ms = 5;
  put(log);
  Cache cache = segment_->client();
  std::atomic<bool> done{false};
  std::atomic<int> written{0};
  constexpr int kWrites = 6000;
  std::thread writer{[&] {
    for (int i = 0; i < kWrites; ++i) {
      while (!cache.set("k:" + std::to_string(i % 20), std::to_string(i))) std::this_thread::sleep_for(1ms);
      written = i + 1;
      if (i % 50 == 0) std::this_thread::sleep_for(5ms);
    }
    done = true;
  }};
  std::minstd_rand random{1234};
  for (int round = 0; !done || round < 10; ++round) {
    // A stopped executor builds a backlog; then it, or the dispatcher, or both die in it.
    signal_executors(SIGSTOP);
    std::this_thread::sleep_for(std::chrono::milliseconds{random() % 60});
    signal_executors(SIGCONT);
    std::this_thread::sleep_for(std::chrono::milliseconds{random() % 40});
    if (random() % 3 != 0) signal_executors(SIGKILL);
    account("k:*");
    if (random() % 2 == 0) {
      crash();
      start();
      account("k:*");
    }
  }
  writer.join();
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged + account("k:*").dead == kWrites; }, 60s))
      << account("k:*").acknowledged << " retry " << account("k:*").retry << " spooled " << account("k:*").spooled;
  EXPECT_EQ(account("k:*").dead, 0u);
  expect_all_in_order("k", kWrites, 20);
  EXPECT_EQ(account("k:*").emitted, static_cast<std::uint64_t>(kWrites));
}

TEST_F(BacklogTest, WhatTheStoreHasTakenIsNotSpooledToo) {
  put(spec("k:*", EventKind::write, logger("k")));
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  crash();
  Cache cache = segment_->client();
  constexpr int kWrites = 600;
  constexpr int kTaken = 300;
  for (int i = 0; i < kWrites; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i), std::to_string(i)));
  {
    // As a supervisor leaves it that died between D1 and D4: an executor had claimed the events, the store took
    // its runs, and the cells do not say so yet.
    const EventReader reader = segment_->keeper().reader();
    segment_->keeper().lane(0)->resume(reader.tail());
    auto store = Store::open({.directory = state_});
    ASSERT_TRUE(store);
    const auto triggers = (*store)->load_triggers();
    ASSERT_TRUE(triggers);
    ASSERT_EQ(triggers->size(), 1u);
    auto batch = (*store)->begin();
    ASSERT_TRUE(batch);
    for (int i = 0; i < kTaken; ++i) {
      const auto event = reader.at(EventSeq{reader.head() + static_cast<std::uint64_t>(i)});
      ASSERT_TRUE(event);
      const EventData data = copy_event(*event, reader);
      MovedRun moved;
      moved.run = RunRef{data.id, event->seq.value, "k:*", {}};
      moved.trigger_id = triggers->front().id;
      moved.key_hash = event->key_hash;
      moved.state = RunState::held;
      ASSERT_TRUE(batch->move_in(moved, data, 1));
    }
    ASSERT_TRUE(batch->commit());
  }
  start();
  // account() expects each sample to add up.
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == kWrites; }, 30s)) << account("k:*").acknowledged;
  EXPECT_EQ(lines("k").size(), static_cast<std::size_t>(kWrites));
}

TEST_F(BacklogTest, EventsLostWithADamagedFileShowInTheAccount) {
  put(spec("k:*", EventKind::write, logger("k")));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(cache.set("k:" + std::to_string(i % 20), std::to_string(i))) << i;
    if (i % 500 != 499) continue;
    ASSERT_TRUE(eventually([&] { return account("k:*").spooled + 100 > static_cast<std::uint64_t>(i); })) << i;
  }
  ASSERT_GT(spool_files(), 2u);
  crash();
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator{state_ / "spool"}) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  {
    std::fstream file{files.at(1), std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(4000);
    file.write("damaged", 7);
  }
  start();
  EXPECT_TRUE(eventually([&] {
    const auto rows = dispatcher_->account();
    return rows && rows->size() == 1 && rows->front().retry + rows->front().spooled + rows->front().in_flight == 0;
  }, 30s));
  const auto rows = dispatcher_->account();
  ASSERT_TRUE(rows);
  EXPECT_FALSE(rows->front().adds_up());
  EXPECT_LT(rows->front().acknowledged, 3000u);
  EXPECT_EQ(rows->front().emitted, 3000u);
}

TEST_F(BacklogTest, LargeValuesThatPinTooMuchMemoryAreCopiedOut) {
  stop();
  dispatcher_options_.backlog_events_max = 0;
  constexpr std::uint64_t kCapBytes = 4 << 20;
  dispatcher_options_.pinned_bytes_max = kCapBytes;
  start();
  put(spec("k:*", EventKind::write, "cachee.log('k', {k = event.key, v = #event.value})"));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  // Events keep their values; these are more than the segment holds.
  const std::string large(1 << 20, 'x');
  // A writer that waits for the disk: each event keeps the pages of its value and of the one that it replaced. The first
  // replaced nothing.
  const std::uint64_t kSmall = 2 * segment_info(cache)->page_bytes;
  for (std::uint64_t i = 0; i < 12; ++i) {
    ASSERT_TRUE(cache.set("k:1", large)) << i;
    ASSERT_TRUE(eventually([&] {
      const auto stats = dispatcher_->server_stats();
      const std::uint64_t pinned = stats["pinned_bytes"], depth = stats["ring_depth"];
      EXPECT_LE(pinned, kCapBytes + 2 * large.size() + kSmall) << i;
      const std::uint64_t values = 2 * depth - (depth == i + 1 ? 1 : 0);
      return pinned <= kCapBytes && pinned >= values * large.size() && pinned <= values * large.size() + depth * kSmall;
    })) << i << ": " << dispatcher_->server_stats();
  }
  ASSERT_GT(account("k:*").spooled, 6u);
  for (int i = 12; i < 34; ++i) {
    // A writer that is faster than the disk meets the end of the memory, for a moment.
    ASSERT_TRUE(eventually([&] {
      const auto written = cache.set("k:1", large);
      EXPECT_TRUE(written || written.code() == Errc::no_space) << to_string(written.error());
      return written.has_value();
    }, 20s)) << i << ", spooled " << account("k:*").spooled;
  }
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 10; }));
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 34; }, 60s));
  ASSERT_EQ(lines("k").size(), 34u);
  for (const std::string& line : lines("k")) EXPECT_NE(line.find("1048576"), std::string::npos) << line;
  EXPECT_TRUE(eventually([&] { return dispatcher_->server_stats()["pinned_bytes"] == 0; })) << dispatcher_->server_stats();
}

TEST_F(BacklogTest, MetadataAndHalfEmptyPagesThatPinTooMuchMemoryAreCopiedOut) {
  stop();
  dispatcher_options_.backlog_events_max = 0;
  start();
  put(spec("k:*", EventKind::write, "cachee.log('k', {k = event.key, v = #event.value})"));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  // Far fewer than the ring holds, and several times the memory.
  const SegmentInfo info = *segment_info(cache);
  const std::string half(info.page_bytes / 2 + 300, 'x');
  const SetOptions much{.metadata = {{"f", std::string(60000, 'm')}}};
  std::uint64_t writes = 0;
  const auto write = [&](std::string_view value, const SetOptions& options) {
    ++writes;
    return eventually([&] {
      const auto written = cache.set("k:" + std::to_string(writes), value, options);
      EXPECT_TRUE(written || written.code() == Errc::no_space) << to_string(written.error());
      return written.has_value();
    }, 20s);
  };
  for (std::uint64_t i = 0; i < 3 * info.data_bytes / 60000; ++i) ASSERT_TRUE(write("v", much)) << i;
  for (std::uint64_t i = 0; i < 3 * info.data_bytes / info.page_bytes; ++i) ASSERT_TRUE(write(half, {})) << i;
  EXPECT_GT(account("k:*").spooled, 0u);
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == writes; }, 60s));
}

TEST_F(BacklogTest, WaitIsOverWhenTheSpooledRunIs) {
  put(spec("k:*", EventKind::write, logger("k")));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  std::vector<EventSeq> events;
  for (int i = 0; i < 500; ++i) events.push_back(*cache.set("k:" + std::to_string(i), "1")->event);
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 400; }));
  EXPECT_EQ(cache.wait_acknowledged(events[100], 50ms).code(), Errc::timed_out);
  signal_executors(SIGCONT);
  EXPECT_TRUE(cache.wait_acknowledged(events[100], 10s));
  EXPECT_TRUE(cache.wait_acknowledged(events[499], 10s));
  EXPECT_EQ(lines("k").size(), 500u) << "the last WAIT returned before its run";
}

TEST_F(BacklogTest, OnFullShedShedsCountsAndNamesEveryId) {
  TriggerSpec shedding = spec("s:*", EventKind::write, R"(
    if event.type == "gap" then
      cachee.log("gaps", {count = event.metadata.count, ids = event.metadata.ids, cause = event.cause, id = event.id})
    else
      cachee.log("s", {id = event.id})
    end)");
  shedding.on_full = OnFull::shed;
  put(shedding);
  put(spec("s:1*", EventKind::write, logger("kept")));  // BLOCK, of some of the same keys
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  constexpr int kWrites = 3000;
  std::set<std::string> ids;
  int kept = 0;
  for (int i = 0; i < kWrites; ++i) {
    const std::string key = "s:" + std::to_string(i % 20);
    const auto written = cache.set(key, std::to_string(i));
    ASSERT_TRUE(written) << i;
    ids.insert(segment_->keeper().reader().event_id(written->event->value + 1));
    kept += key.starts_with("s:1") ? 1 : 0;
    if (i == kWrites / 2) {  // in the middle of it
      crash();
      start();
      ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
      signal_executors(SIGSTOP);
    }
  }
  ASSERT_TRUE(eventually([&] { return account("s:*").shed > kWrites / 2; })) << account("s:*").shed;
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] {
    const TriggerAccount row = account("s:*");
    return row.emitted == row.acknowledged + row.shed && account("s:1*").acknowledged == static_cast<std::uint64_t>(kept);
  }, 30s));
  EXPECT_EQ(account("s:1*").shed, 0u) << "a trigger that did not ask for it loses nothing";
  // Every id is in a line of its own or in a gap, none in both.
  std::set<std::string> told;
  for (const std::string& line : lines("s")) EXPECT_TRUE(told.insert(nlohmann::json::parse(line)["id"]).second) << line;
  std::uint64_t shed = 0;
  for (const std::string& line : lines("gaps")) {
    const auto gap = nlohmann::json::parse(line);
    EXPECT_EQ(gap["cause"], "shed");
    shed += std::stoull(gap["count"].get<std::string>());
    const std::vector<std::uint64_t> numbers = numbers_of_gap(gap["ids"]);
    for (const std::uint64_t n : numbers) EXPECT_TRUE(told.insert(segment_->keeper().reader().event_id(n)).second) << n << " in " << line;
    EXPECT_EQ(std::to_string(numbers.size()), gap["count"].get<std::string>());
  }
  EXPECT_EQ(shed, account("s:*").shed);
  EXPECT_EQ(told, ids);
}

TEST_F(BacklogTest, AFullDiskKeepsEventsInTheRingThenPushesBackThenGoesOn) {
  TriggerSpec log = spec("k:*", EventKind::write, logger("k"));
  log.block_ms = 20;
  put(log);
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return !executors().empty(); }));
  signal_executors(SIGSTOP);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit none{0, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  int written = 0;
  Result<WriteResult> last = Errc::ok;
  for (; written < 100000; ++written) {
    last = cache.set("k:" + std::to_string(written % 20), std::to_string(written));
    if (!last) break;
  }
  const auto row = account("k:*");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(last.code(), Errc::full);
  EXPECT_EQ(cache.get("k:" + std::to_string(written % 20))->bytes, std::to_string(written - 20)) << "a refused write was applied";
  EXPECT_EQ(row.spooled, 0u);
  EXPECT_EQ(row.emitted, static_cast<std::uint64_t>(written));
  // Room again, the executor still stopped: now the backlog can go.
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 1000; }));
  ASSERT_TRUE(cache.set("k:" + std::to_string(written % 20), std::to_string(written)));
  signal_executors(SIGCONT);
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == static_cast<std::uint64_t>(written + 1); }, 60s));
  expect_all_in_order("k", written + 1, 20);
}

TEST_F(BacklogTest, AHandlersOwnWritesIntoAFullRingNeverDeadlock) {
  // Each event of in:* makes one of out:*, whose handler is slower; the ring is full of both.
  put(spec("in:*", EventKind::write, "cachee.set('out:' .. event.key, event.value)"));
  put(spec("out:*", EventKind::write, logger("out")));
  stop();
  Cache cache = segment_->client();
  int written = 0;
  while (cache.set("in:" + std::to_string(written), std::to_string(written))) ++written;
  ASSERT_GT(written, 1000);
  start();
  ASSERT_TRUE(eventually([&] { return account("out:*").acknowledged == static_cast<std::uint64_t>(written); }, 60s))
      << account("out:*").acknowledged << " of " << written << ", dead " << account("in:*").dead;
  EXPECT_EQ(account("in:*").dead, 0u);
}

class BacklogOfMany : public BacklogTest {
 protected:
  BacklogOfMany() { executors_ = 3; }
};

TEST_F(BacklogOfMany, IsTakenOverByAnotherNumberOfExecutors) {
  put(spec("k:*", EventKind::write, logger("k")));
  Cache cache = segment_->client();
  ASSERT_TRUE(eventually([&] { return executors().size() == 3; }));
  signal_executors(SIGSTOP);
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i % 20), std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("k:*").spooled > 1000; }));
  dispatcher_->stop(0ms);
  dispatcher_.reset();
  executors_ = 2;
  start();
  for (int i = 2000; i < 3000; ++i) ASSERT_TRUE(cache.set("k:" + std::to_string(i % 20), std::to_string(i)));
  ASSERT_TRUE(eventually([&] { return account("k:*").acknowledged == 3000; }, 60s)) << account("k:*").acknowledged;
  expect_all_in_order("k", 3000, 20);
}

}  // namespace
}  // namespace cachee::daemon
