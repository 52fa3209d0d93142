// Goal: the store keeps what it was told, moves runs without losing count, and says clearly what
// is wrong with a file it cannot use.
// Method: real files in a temporary directory; a second connection where order matters; damage
// done to the file from outside.
#include "store/store.hpp"

#include <algorithm>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>

#include "store/effect_rules.hpp"
#include "store/migrations.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using test::TempDirectory;

std::vector<std::int64_t> due_ids(Store& store, std::int64_t now_wall_ms = 1'000'000) {
  auto due = store.due_runs(now_wall_ms, 100, {});
  EXPECT_TRUE(due);
  std::vector<std::int64_t> ids;
  for (const StoredRun& run : *due) ids.push_back(run.id);
  return ids;
}

using Ids = std::vector<std::int64_t>;

template <class Work>
void in_batch(Store& store, Work&& work) {
  auto batch = store.begin();
  ASSERT_TRUE(batch) << batch.failure().text;
  work(*batch);
  auto done = batch->commit();
  ASSERT_TRUE(done) << done.failure().text;
}

// Opening.

TEST(Store, IsPrivateToItsOwner) {
  TempDirectory state;
  const std::string directory = state.path() + "/a/b/default";
  auto store = open_store(directory);
  struct stat info {};
  ASSERT_EQ(::stat((directory + "/cachee.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((directory + "/cachee.db-wal").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(Store, NewerSchemaIsRefusedWithBothVersions) {
  TempDirectory state;
  open_store(state.path());
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    db.script("PRAGMA user_version = 99");
  }
  auto store = Store::open({.directory = state.path()});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.failure().code, Errc::layout_mismatch);
  EXPECT_NE(store.failure().text.find("version 99"), std::string::npos) << store.failure().text;
  EXPECT_NE(store.failure().text.find(fmt::format("up to {}", kSchemaVersion)), std::string::npos) << store.failure().text;
  EXPECT_NE(store.failure().text.find(state.path()), std::string::npos) << store.failure().text;
}

TEST(Store, SomebodyElsesDatabaseIsLeftAlone) {
  TempDirectory state;
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    db.script("CREATE TABLE precious (a)");
  }
  auto store = Store::open({.directory = state.path()});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.failure().code, Errc::layout_mismatch);
  EXPECT_NE(store.failure().text.find("not a Cachee database"), std::string::npos);
}

TEST(Store, FileThatIsNoDatabaseIsReported) {
  TempDirectory state;
  std::ofstream{state.path() + "/cachee.db"} << std::string(10000, 'x');
  auto store = Store::open({.directory = state.path()});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.failure().code, Errc::corrupt) << store.failure().text;
  EXPECT_NE(store.failure().text.find("cachee.db"), std::string::npos);
}

TEST(Store, DamagedFileIsReported) {
  TempDirectory state;
  {
    auto store = open_store(state.path());
    in_batch(*store, [](Batch& batch) {
      for (std::uint64_t seq = 0; seq < 200; ++seq) move_in(batch, seq, seq);
    });
  }
  {
    std::fstream file{state.path() + "/cachee.db", std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(0, std::ios::end);
    const auto bytes = static_cast<long>(file.tellp());
    ASSERT_GT(bytes, 40960);
    for (long at = 8192; at + 64 < bytes; at += 4096) {
      file.seekp(at);
      file << std::string(64, '\xff');
    }
  }
  auto store = Store::open({.directory = state.path()});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.failure().code, Errc::corrupt) << store.failure().text;
}

TEST(Store, DirectoryThatCannotBeMadeIsNamed) {
  auto store = Store::open({.directory = "/proc/nowhere/default"});
  ASSERT_FALSE(store);
  EXPECT_NE(store.failure().text.find("/proc/nowhere/default"), std::string::npos);
}

TEST(Store, ConnectionsOpenedTogetherMakeOneSchema) {
  TempDirectory state;
  std::vector<std::thread> threads;
  std::vector<std::string> problems(6);
  for (std::string& problem : problems) {
    threads.emplace_back([&] {
      auto store = Store::open({.directory = state.path()});
      if (!store) {
        problem = store.failure().text;
      } else if (auto id = (*store)->next_trigger_id(); !id) {
        problem = id.failure().text;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  EXPECT_EQ(*open_store(state.path())->next_trigger_id(), 7u);
}

// Registry.

TriggerSpec unusual_trigger() {
  return {.name = "a\nb \xff",
          .pattern = "sess*[^x]",
          .events = 6,
          .source = "return 1 -- ?",
          .priority = -5,
          .on_full = OnFull::shed,
          .block_ms = 1,
          .retry_attempts = 2,
          .backoff_min_ms = 3,
          .backoff_max_ms = 4,
          .timeout_ms = 5,
          .memory_bytes = std::uint64_t{1} << 40,
          .steps = ~std::uint64_t{0},
          .sample = 8,
          .depth_max = 9,
          .enabled = false,
          .paused = true,
          .slot = 10,
          .id = 11,
          .registered_wall_ms = 12};
}

TEST(Store, TriggersKeepEveryField) {
  TempDirectory state;
  const TriggerSpec in = unusual_trigger();
  ASSERT_TRUE(open_store(state.path())->upsert_trigger(in));
  auto loaded = open_store(state.path())->load_triggers();
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->size(), 1u);
  const TriggerSpec& out = loaded->front();
  EXPECT_EQ(out.name, in.name);
  EXPECT_EQ(out.pattern, in.pattern);
  EXPECT_EQ(out.events, in.events);
  EXPECT_EQ(out.source, in.source);
  EXPECT_EQ(out.priority, in.priority);
  EXPECT_EQ(out.on_full, in.on_full);
  EXPECT_EQ(out.block_ms, in.block_ms);
  EXPECT_EQ(out.retry_attempts, in.retry_attempts);
  EXPECT_EQ(out.backoff_min_ms, in.backoff_min_ms);
  EXPECT_EQ(out.backoff_max_ms, in.backoff_max_ms);
  EXPECT_EQ(out.timeout_ms, in.timeout_ms);
  EXPECT_EQ(out.memory_bytes, in.memory_bytes);
  EXPECT_EQ(out.steps, in.steps);
  EXPECT_EQ(out.sample, in.sample);
  EXPECT_EQ(out.depth_max, in.depth_max);
  EXPECT_EQ(out.enabled, in.enabled);
  EXPECT_EQ(out.paused, in.paused);
  EXPECT_EQ(out.slot, in.slot);
  EXPECT_EQ(out.id, in.id);
  EXPECT_EQ(out.registered_wall_ms, in.registered_wall_ms);
}

TEST(Store, TriggersAreReplacedRemovedAndOrdered) {
  TempDirectory state;
  auto store = open_store(state.path());
  TriggerSpec a{.name = "a", .pattern = "*", .source = "1", .priority = 1, .id = 3};
  TriggerSpec b{.name = "b", .pattern = "*", .source = "1", .priority = 5, .id = 2};
  TriggerSpec c{.name = "c", .pattern = "*", .source = "1", .priority = 1, .id = 1};
  ASSERT_TRUE(store->save_triggers(std::vector{a, b, c}));
  a.source = "2";
  ASSERT_TRUE(store->upsert_trigger(a));
  auto loaded = store->load_triggers();
  ASSERT_EQ(loaded->size(), 3u);
  EXPECT_EQ((*loaded)[0].name, "b");
  EXPECT_EQ((*loaded)[1].name, "c");
  EXPECT_EQ((*loaded)[2].source, "2");
  EXPECT_TRUE(*store->remove_trigger("a"));
  EXPECT_FALSE(*store->remove_trigger("a"));
  ASSERT_TRUE(store->save_triggers({}));
  EXPECT_TRUE(store->load_triggers()->empty());
}

// Runs.

TEST(Store, OnlyTheOldestRunOfATriggerAndKeyIsDue) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t first = 0, second = 0, other_key = 0, other_trigger = 0;
  in_batch(*store, [&](Batch& batch) {
    first = move_in(batch, 1, 10, RunState::waiting, "t", 500);
    second = move_in(batch, 2, 10, RunState::held);
    other_key = move_in(batch, 3, 11, RunState::waiting, "t", 700);
    other_trigger = move_in(batch, 1, 10, RunState::waiting, "u", 600);
  });
  EXPECT_EQ(due_ids(*store), (Ids{first, other_trigger, other_key}));
  EXPECT_EQ(due_ids(*store, 599), (Ids{first}));
  EXPECT_EQ(due_ids(*store, 499), (Ids{}));
  EXPECT_EQ(**store->next_run_wall_ms(), 500);
  EXPECT_EQ(*store->count_lane("t", 10), 2u);
  in_batch(*store, [&](Batch& batch) { EXPECT_TRUE(*batch.finish(first, 800)); });
  EXPECT_EQ(due_ids(*store), (Ids{other_trigger, other_key, second}));
  EXPECT_EQ(*store->count_lane("t", 10), 1u);
  expect_sound(*store);
}

TEST(Store, DueRunsComeWithTheirEventAndSkipThoseInHand) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) {
    id = move_in(batch, 41, 10);
    move_in(batch, 42, 11);
  });
  auto due = store->due_runs(5000, 1, [](std::int64_t) { return false; });
  ASSERT_EQ(due->size(), 1u);
  const StoredRun& run = due->front();
  EXPECT_EQ(run.id, id);
  EXPECT_EQ(run.event_id, event_id(41));
  EXPECT_EQ(run.seq, 41u);
  EXPECT_EQ(run.trigger, "t");
  EXPECT_EQ(run.trigger_id, 7u);
  EXPECT_EQ(run.key_hash, 10u);
  EXPECT_EQ(run.attempts, 1u);
  EXPECT_EQ(run.error, "boom");
  EXPECT_EQ(run.traceback, "line 1");
  EXPECT_EQ(run.moved_wall_ms, 1000);
  ASSERT_TRUE(run.event.has_value());
  EXPECT_EQ(encode(*run.event), encode(event_data(41)));
  auto rest = store->due_runs(5000, 10, [&](std::int64_t in_hand) { return in_hand == id; });
  ASSERT_EQ(rest->size(), 1u);
  EXPECT_EQ(rest->front().seq, 42u);
}

TEST(Store, KeyHashesUseAll64Bits) {
  TempDirectory state;
  auto store = open_store(state.path());
  const std::uint64_t hash = ~std::uint64_t{0} - 5;
  in_batch(*store, [&](Batch& batch) { move_in(batch, 1, hash); });
  EXPECT_EQ(store->due_runs(5000, 1, {})->front().key_hash, hash);
  EXPECT_EQ(*store->count_lane("t", hash), 1u);
  ASSERT_EQ(store->blocked_lanes()->size(), 1u);
  EXPECT_EQ(store->blocked_lanes()->front().key_hash, hash);
  EXPECT_EQ(store->blocked_lanes()->front().count, 1u);
}

TEST(Store, FailedRunWaitsForItsNextAttempt) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) { id = move_in(batch, 1, 10); });
  in_batch(*store, [&](Batch& batch) {
    EXPECT_TRUE(*batch.fail(id, {.attempts = 2, .next_attempt_wall_ms = 9000, .error = "again"}));
    EXPECT_FALSE(*batch.fail(id + 1, {}));
  });
  EXPECT_EQ(due_ids(*store, 8999), Ids{});
  EXPECT_EQ(due_ids(*store, 9000), Ids{id});
  auto run = store->list_runs(10);
  EXPECT_EQ(run->front().attempts, 2u);
  EXPECT_EQ(run->front().error, "again");
}

TEST(Store, HeldRunWithNothingInFrontOfItRuns) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) { id = move_in(batch, 1, 10, RunState::held); });
  EXPECT_EQ(due_ids(*store), Ids{id});
  expect_sound(*store);
}

TEST(Store, RunThatMovedBeforeIsNotAddedAgain) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) { id = move_in(batch, 1, 10); });
  const auto again = [&](std::int64_t expected_id) {
    in_batch(*store, [&](Batch& batch) {
      auto moved = batch.move_in({.run = {.event_id = event_id(1), .seq = 1, .trigger = "t"}},
                                 event_data(1), 2000);
      ASSERT_TRUE(moved);
      EXPECT_FALSE(moved->added);
      EXPECT_EQ(moved->id, expected_id);
      EXPECT_TRUE(*batch.was_moved(event_id(1), "t"));
      EXPECT_FALSE(*batch.was_moved(event_id(1), "u"));
      EXPECT_FALSE(*batch.was_moved(event_id(2), "t"));
    });
  };
  again(id);
  // Also when the store is done with it: the ring may deliver it once more after a crash.
  in_batch(*store, [&](Batch& batch) { EXPECT_TRUE(*batch.finish(id, 2000)); });
  again(0);
  const auto account = *store->account("t");
  EXPECT_EQ(account.moved_in, 1u);
  EXPECT_EQ(account.acknowledged, 1u);
  expect_sound(*store);
}

TEST(Store, DamagedStoredEventDoesNotStopTheOthers) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) {
    id = move_in(batch, 1, 10);
    move_in(batch, 2, 11);
  });
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    db.run("UPDATE run_events SET event = ? WHERE id = ?", sql::Blob{"rubbish"}, id);
  }
  auto due = store->due_runs(5000, 10, {});
  ASSERT_TRUE(due);
  ASSERT_EQ(due->size(), 2u);
  EXPECT_FALSE(due->front().event.has_value());
  EXPECT_TRUE(due->back().event.has_value());
}

TEST(Store, UncommittedBatchLeavesNothing) {
  TempDirectory state;
  auto store = open_store(state.path());
  {
    auto batch = store->begin();
    move_in(*batch, 1, 10);
  }
  EXPECT_TRUE(due_ids(*store).empty());
  EXPECT_EQ(store->account("t")->moved_in, 0u);
  in_batch(*store, [&](Batch& batch) { move_in(batch, 1, 10); });
  EXPECT_EQ(due_ids(*store).size(), 1u);
}

// Dead letters.

TEST(Store, DeadLetterCanBeListedShownReplayedAndPurged) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t id = 0;
  in_batch(*store, [&](Batch& batch) { id = move_in(batch, 1, 10); });
  in_batch(*store, [&](Batch& batch) {
    EXPECT_TRUE(*batch.bury(id, {.attempts = 5, .error = "it broke", .traceback = "at 3"}, 4000));
    EXPECT_FALSE(*batch.bury(id, {}, 4000));
    EXPECT_FALSE(*batch.finish(id, 4000));
  });
  EXPECT_TRUE(due_ids(*store).empty());
  const std::string name = "e" + std::to_string(id);
  auto list = store->list_dead(10);
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ(list->front().id, name);
  EXPECT_EQ(list->front().event_id, event_id(1));
  EXPECT_EQ(list->front().trigger, "t");
  EXPECT_EQ(list->front().what, "event");
  EXPECT_EQ(list->front().attempts, 5u);
  EXPECT_EQ(list->front().error, "it broke");
  EXPECT_EQ(list->front().wall_ms, 4000);
  auto letter = store->find_dead(name);
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->traceback, "at 3");
  ASSERT_TRUE(letter->event.has_value());
  EXPECT_EQ(letter->event->key, "k");
  expect_sound(*store);

  for (const auto& what : {std::optional<std::string_view>{name}, std::optional<std::string_view>{}}) {
    const auto refused = store->replay_dead(what, 5000);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.failure().text.find("trigger t is not registered"), std::string::npos) << refused.failure().text;
  }
  EXPECT_EQ(store->list_dead(10)->size(), 1u);
  register_trigger(*store, "t");
  EXPECT_EQ(*store->replay_dead(name, 5000), 1u);
  auto due = store->due_runs(5000, 10, {});
  ASSERT_EQ(due->size(), 1u);
  EXPECT_EQ(due->front().attempts, 0u);
  EXPECT_EQ(due->front().id, id);
  EXPECT_TRUE(store->list_dead(10)->empty());
  expect_sound(*store);

  in_batch(*store, [&](Batch& batch) { EXPECT_TRUE(*batch.bury(id, {.attempts = 5}, 6000)); });
  EXPECT_EQ(*store->purge_dead(name), 1u);
  const auto account = *store->account("t");
  EXPECT_EQ(account.moved_in, 1u);
  EXPECT_EQ(account.purged, 1u);
  EXPECT_EQ(account.dead, 0u);
  expect_sound(*store);
  for (const std::string unknown : {name.c_str(), "e999", "o1", "", "x1", "e", "e-1", "e1x"}) {
    auto found = store->find_dead(unknown);
    ASSERT_FALSE(found) << unknown;
    EXPECT_EQ(found.failure().code, Errc::not_found);
    EXPECT_FALSE(store->replay_dead(unknown, 1));
    EXPECT_FALSE(store->purge_dead(unknown));
  }
}

TEST(Store, ReplayedRunTakesItsOldPlace) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::int64_t first = 0, second = 0;
  in_batch(*store, [&](Batch& batch) {
    first = move_in(batch, 1, 10);
    second = move_in(batch, 2, 10, RunState::held);
    EXPECT_TRUE(*batch.bury(first, {.attempts = 5}, 2000));
  });
  EXPECT_EQ(due_ids(*store), Ids{second});
  register_trigger(*store, "t");
  EXPECT_EQ(*store->replay_dead(std::nullopt, 3000), 1u);
  EXPECT_EQ(due_ids(*store), Ids{first});
  in_batch(*store, [&](Batch& batch) { EXPECT_TRUE(*batch.finish(first, 4000)); });
  EXPECT_EQ(due_ids(*store), Ids{second});
  expect_sound(*store);
}

TEST(Store, AllDeadLettersGoInBoundedTransactions) {
  TempDirectory state;
  auto store = open_store(state.path());
  constexpr std::uint64_t kCount = 1203;
  in_batch(*store, [&](Batch& batch) {
    for (std::uint64_t seq = 0; seq < kCount; ++seq) {
      const auto id = move_in(batch, seq, seq, RunState::waiting, seq % 2 == 0 ? "t" : "u");
      ASSERT_TRUE(*batch.bury(id, {.attempts = 5}, 2000));
    }
  });
  EXPECT_EQ(store->list_dead(10)->size(), 10u);
  register_trigger(*store, "t");
  EXPECT_EQ(*store->replay_dead(std::nullopt, 3000), (kCount + 1) / 2);
  register_trigger(*store, "u");
  EXPECT_EQ(*store->replay_dead(std::nullopt, 3000), kCount / 2);
  EXPECT_EQ(*store->replay_dead(std::nullopt, 3000), 0u);
  EXPECT_EQ(due_ids(*store).size(), 100u);
  in_batch(*store, [&](Batch& batch) {
    const auto runs = store->list_runs(2 * kCount);
    for (const StoredRun& run : *runs) {
      ASSERT_TRUE(*batch.bury(run.id, {.attempts = 5}, 4000));
    }
  });
  EXPECT_EQ(*store->purge_dead(std::nullopt), kCount);
  EXPECT_EQ(store->account("t")->purged, 602u);
  EXPECT_EQ(store->account("u")->purged, 601u);
  EXPECT_EQ(*store->purge_dead(std::nullopt), 0u);
  expect_sound(*store);
}

TEST(Store, AccountStartsAnewWithItsStoredRuns) {
  TempDirectory state;
  auto store = open_store(state.path());
  in_batch(*store, [&](Batch& batch) {
    EXPECT_TRUE(*batch.finish(move_in(batch, 1, 1), 1));
    EXPECT_TRUE(*batch.bury(move_in(batch, 2, 2), {}, 1));
    move_in(batch, 3, 3);
  });
  ASSERT_TRUE(store->reset_account("t"));
  const auto account = *store->account("t");
  EXPECT_EQ(account.moved_in, 2u);
  EXPECT_EQ(account.acknowledged, 0u);
  EXPECT_EQ(account.retry, 1u);
  EXPECT_EQ(account.dead, 1u);
  EXPECT_TRUE(account.adds_up());
  EXPECT_EQ(store->account("never seen")->moved_in, 0u);
  EXPECT_EQ(store->accounts()->size(), 1u);
}

TEST(Store, CheckNamesTheBrokenInvariant) {
  TempDirectory state;
  auto store = open_store(state.path());
  in_batch(*store, [&](Batch& batch) {
    move_in(batch, 1, 1);
    move_in(batch, 2, 2);
  });
  add_effects(*store, 5, {webhook_effect("http://h/")});
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    db.script(
        "UPDATE accounts SET moved_in = 9; UPDATE outbox_accounts SET added = 9;"
        "UPDATE runs SET state = 1 WHERE seq = 2; DELETE FROM run_events WHERE id = 1");
  }
  std::string all;
  for (const std::string& finding : *store->check()) all += finding + "\n";
  for (const char* id : {"[ST-1]", "[ST-2]", "[ST-3]", "[ST-4]"}) {
    EXPECT_NE(all.find(id), std::string::npos) << id << " in\n" << all;
  }
}

// Effects and the ledger.

TEST(Store, RedeliveredRunAddsNothing) {
  TempDirectory state;
  auto store = open_store(state.path());
  const std::vector<Effect> effects = {log_effect("audit", R"({"a":1})"), Effect{},
                                       webhook_effect("http://h/x"),
                                       warm_effect("k", "http://h/y")};
  EXPECT_TRUE(add_effects(*store, 1, effects));
  EXPECT_FALSE(add_effects(*store, 1, effects));
  // A handler need not do the same twice; its first success is what counts.
  EXPECT_FALSE(add_effects(*store, 1, {log_effect("other", R"({"b":2})")}));
  EXPECT_TRUE(add_effects(*store, 1, effects, "another trigger"));
  EXPECT_EQ(store->pending_log("audit", 1 << 20)->size(), 2u);
  EXPECT_TRUE(store->pending_log("other", 1 << 20)->empty());
  auto rows = store->list_outbox(10);
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0].n, 2u);  // its index among all effects of the run
  EXPECT_EQ((*rows)[1].n, 3u);
  expect_sound(*store);
}

TEST(Store, RowsThatWereSentAreNotAddedAgain) {
  TempDirectory state;
  auto store = open_store(state.path());
  EXPECT_TRUE(add_effects(*store, 1, {webhook_effect("http://h/x")}));
  const auto due = store->due_outbox(5000, 10, {});
  ASSERT_EQ(due->size(), 1u);
  ASSERT_TRUE(store->settle_outbox(std::vector<OutboxResult>{{.id = due->front().id}}, 6000));
  EXPECT_FALSE(add_effects(*store, 1, {webhook_effect("http://h/x")}));
  EXPECT_TRUE(store->list_outbox(10)->empty());
  const auto accounts = store->outbox_accounts();
  ASSERT_EQ(accounts->size(), 1u);
  EXPECT_EQ(accounts->front().added, 1u);
  EXPECT_EQ(accounts->front().sent, 1u);
}

TEST(Store, EffectsThatBreakARuleSpareTheBatch) {
  TempDirectory state;
  auto store = open_store(state.path());
  auto batch = store->begin();
  auto refused = batch->add_effects({.event_id = event_id(1), .seq = 1, .trigger = "t"},
                                    {log_effect("ok", "{}"), log_effect("not ok", "{}")}, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, Errc::invalid_argument);
  EXPECT_TRUE(*batch->add_effects({.event_id = event_id(2), .seq = 2, .trigger = "t"},
                                  {log_effect("ok", "{}")}, 1));
  ASSERT_TRUE(batch->commit());
  EXPECT_EQ(store->pending_log("ok", 100)->size(), 1u);
  EXPECT_TRUE(add_effects(*store, 1, {log_effect("ok", "{}")}));  // the ledger knows nothing of it
}

TEST(Store, NumberOfLogChannelsIsBounded) {
  TempDirectory state;
  auto store = open_store(state.path());
  in_batch(*store, [&](Batch& batch) {
    for (std::uint64_t n = 0; n < static_cast<std::uint64_t>(kLogChannelsMax); ++n) {
      auto added = batch.add_effects({.event_id = event_id(n), .seq = n, .trigger = "t"},
                                     {log_effect("c" + std::to_string(n), "{}")}, 1);
      ASSERT_TRUE(added) << added.failure().text;
    }
    auto refused = batch.add_effects({.event_id = event_id(9999), .seq = 9999, .trigger = "t"},
                                     {log_effect("onemore", "{}")}, 1);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.failure().text.find("onemore"), std::string::npos);
    EXPECT_TRUE(batch.add_effects({.event_id = event_id(9998), .seq = 9998, .trigger = "t"},
                                  {log_effect("c3", "{}")}, 1));
  });
}

TEST(Store, LedgerKeepsWhatMayComeAgain) {
  TempDirectory state;
  auto store = open_store(state.path());
  for (std::uint64_t seq = 0; seq < 10; ++seq) {
    add_effects(*store, seq, {log_effect("a", "{}")}, "t", static_cast<std::int64_t>(100 + seq));
  }
  in_batch(*store, [&](Batch& batch) { move_in(batch, 2, 1); });  // enters at 1000
  const LedgerBound bound{.before_wall_ms = 109, .epoch = "5f3a9c1e", .redeliverable_from = 6};
  EXPECT_EQ(*store->prune_ledger(bound, 3), 3u);    // 0 1 3: 2 is a stored run
  EXPECT_EQ(*store->prune_ledger(bound, 100), 2u);  // 4 5
  EXPECT_EQ(*store->prune_ledger(bound, 100), 0u);
  EXPECT_TRUE(add_effects(*store, 0, {log_effect("a", "{}")}));
  for (const std::uint64_t seq : {2, 6, 7, 8, 9}) {
    EXPECT_FALSE(add_effects(*store, seq, {log_effect("a", "{}")})) << seq;
  }
  // Events of another segment's life cannot come at all, wherever they stood.
  EXPECT_EQ(*store->prune_ledger(
                {.before_wall_ms = 109, .epoch = "00000000", .redeliverable_from = 0}, 100),
            3u);  // 6 7 8; 9 is too young
}

TEST(Store, LedgerOfManyRunsInOneRowIsPrunedRunByRun) {
  TempDirectory state;
  auto store = open_store(state.path());
  in_batch(*store, [&](Batch& batch) {
    for (std::uint64_t seq = 0; seq < 3000; ++seq) {
      EXPECT_TRUE(*batch.add_effects({.event_id = event_id(seq), .seq = seq, .trigger = "t"}, {log_effect("a", "{}")}, 1));
    }
    EXPECT_FALSE(*batch.add_effects({.event_id = event_id(2999), .seq = 2999, .trigger = "t"}, {log_effect("a", "{}")}, 1));
    move_in(batch, 100, 1);
  });
  // 3,000 in three blocks: the first may go, but for the stored run; of the second something may come again.
  const LedgerBound bound{.before_wall_ms = 500, .epoch = "5f3a9c1e", .redeliverable_from = 2047};
  EXPECT_EQ(*store->prune_ledger(bound, 10000), 1023u);
  EXPECT_EQ(*store->prune_ledger(bound, 10000), 0u);
  EXPECT_FALSE(add_effects(*store, 100, {log_effect("a", "{}")}));
  EXPECT_TRUE(add_effects(*store, 101, {log_effect("a", "{}")}));
  EXPECT_FALSE(add_effects(*store, 1024, {log_effect("a", "{}")}));
  const auto chunks = store->pending_log("a", 1 << 20);
  ASSERT_EQ(chunks->size(), 2u);  // one of each batch
  EXPECT_EQ(chunks->front().line_count, 3000u);
  EXPECT_EQ(std::count(chunks->front().lines.begin(), chunks->front().lines.end(), '\n'), 3000);
}

TEST(Store, FileWithARowForEachLineAndLedgerEntryIsTakenOver) {
  TempDirectory state;
  open_store(state.path());
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    unmake_rows_of_many(db);
    for (const std::uint64_t seq : {7, 8}) {
      db.run("INSERT INTO ledger (event_id, trigger, what, seq, wall_ms) VALUES (?, 't\xc3\xa4', 0, ?, 1)", event_id(seq), seq);
      db.run("INSERT INTO log_lines (event_id, trigger, n, channel, line) VALUES (?, 't\xc3\xa4', 0, 'a', ?)", event_id(seq),
             sql::Blob{seq == 7 ? "{\"n\":7}\n" : "{\"n\":8}\n"});
    }
    db.run("INSERT INTO ledger (event_id, trigger, what, seq, wall_ms) VALUES (?, 't', 1, 9, 1)", event_id(9));
  }
  auto store = open_store(state.path());
  ASSERT_NE(store, nullptr);
  const auto chunks = store->pending_log("a", 1 << 20);
  ASSERT_EQ(chunks->size(), 2u);
  EXPECT_EQ(chunks->front().lines + chunks->back().lines, "{\"n\":7}\n{\"n\":8}\n");
  EXPECT_FALSE(add_effects(*store, 7, {log_effect("a", "{}")}, "t\xc3\xa4"));
  EXPECT_FALSE(add_effects(*store, 8, {log_effect("a", "{}")}, "t\xc3\xa4"));
  EXPECT_TRUE(add_effects(*store, 9, {log_effect("a", "{}")}));
  EXPECT_TRUE(*store->begin()->was_moved(event_id(9), "t"));
  expect_sound(*store);
}

// Outbox.

TEST(Store, OutboxRowsCarryTheirRequest) {
  TempDirectory state;
  auto store = open_store(state.path());
  Effect webhook = webhook_effect("https://User@Example.COM:443/a?b#c", std::string{"a\0b", 3});
  webhook.method = "PUT";
  webhook.secret = "s3cret";
  webhook.headers = {{"X-A", "1"}, {"X-B", ""}};
  webhook.timeout_ms = 1234;
  Effect warm = warm_effect("page:1", "http://[::1]:8080/p");
  warm.ttl_ms = 60000;
  warm.cost = 2.5;
  auto batch = store->begin();
  ASSERT_TRUE(*batch->add_effects({.event_id = event_id(7),
                                   .seq = 7,
                                   .trigger = "t",
                                   .effects = {.parent = 8, .chain = 3, .depth = 2}},
                                  {webhook, warm}, 1000));
  ASSERT_TRUE(batch->commit());
  auto due = store->due_outbox(1000, 10, {});
  ASSERT_EQ(due->size(), 2u);
  std::sort(due->begin(), due->end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  const OutboxRow& a = (*due)[0];
  EXPECT_EQ(a.kind, OutboxKind::webhook);
  EXPECT_EQ(a.event_id, event_id(7));
  EXPECT_EQ(a.host, "example.com");
  EXPECT_EQ(a.url, webhook.url);
  EXPECT_EQ(a.method, "PUT");
  EXPECT_EQ(a.headers, webhook.headers);
  EXPECT_EQ(a.body, webhook.value);
  EXPECT_EQ(a.secret, "s3cret");
  EXPECT_EQ(a.timeout_ms, 1234u);
  EXPECT_EQ(a.attempts, 0u);
  EXPECT_EQ(a.created_wall_ms, 1000);
  const OutboxRow& b = (*due)[1];
  EXPECT_EQ(b.kind, OutboxKind::warm);
  EXPECT_EQ(b.host, "[::1]:8080");
  EXPECT_EQ(b.method, "GET");
  EXPECT_EQ(b.key, "page:1");
  EXPECT_EQ(b.ttl_ms, 60000);
  EXPECT_EQ(b.cost, 2.5);
  EXPECT_EQ(b.provenance.parent, 8u);
  EXPECT_EQ(b.provenance.chain, 3u);
  EXPECT_EQ(b.provenance.depth, 2u);
  for (const OutboxRow& listed : *store->list_outbox(10)) {
    EXPECT_TRUE(listed.secret.empty());
    EXPECT_TRUE(listed.body.empty());
  }
}

TEST(Store, DueOutboxIsFairToHosts) {
  TempDirectory state;
  auto store = open_store(state.path());
  std::vector<Effect> effects;
  for (const char* host : {"slow", "b", "a"}) {
    for (int i = 0; i < 5; ++i) effects.push_back(webhook_effect(std::string{"http://"} + host));
  }
  add_effects(*store, 1, effects);
  const auto room = [](std::string_view host) { return std::size_t{host == "slow" ? 0u : 2u}; };
  auto due = store->due_outbox(5000, 100, {.room = room});
  ASSERT_EQ(due->size(), 4u);
  EXPECT_EQ((*due)[0].host, "a");
  EXPECT_EQ((*due)[2].host, "b");
  // Whoever has been served waits for the others.
  std::vector<std::string> served;
  for (int i = 0; i < 6; ++i) {
    auto one = store->due_outbox(5000, 1, {});
    ASSERT_EQ(one->size(), 1u);
    served.push_back(one->front().host);
  }
  EXPECT_EQ(served, (std::vector<std::string>{"a", "b", "slow", "a", "b", "slow"}));
  const std::int64_t first = due->front().id;
  auto others =
      store->due_outbox(5000, 100, {.in_flight = [&](std::int64_t id) { return id == first; }});
  EXPECT_EQ(others->size(), 14u);
}

TEST(Store, OutboxResultsAreTakenDown) {
  TempDirectory state;
  auto store = open_store(state.path());
  add_effects(*store, 1,
              {webhook_effect("http://a"), webhook_effect("http://b"), webhook_effect("http://c")});
  auto due = store->due_outbox(5000, 10, {});
  ASSERT_EQ(due->size(), 3u);
  using Verdict = OutboxResult::Verdict;
  const std::int64_t dead_id = (*due)[2].id;
  ASSERT_TRUE(store->settle_outbox(
      std::vector<OutboxResult>{
          {.id = (*due)[0].id, .verdict = Verdict::sent, .attempts = 1, .status = 200},
          {.id = (*due)[1].id,
           .verdict = Verdict::retry,
           .attempts = 1,
           .next_attempt_wall_ms = 8000,
           .status = 503,
           .error = "HTTP status 503"},
          {.id = dead_id,
           .verdict = Verdict::dead,
           .attempts = 1,
           .status = 404,
           .error = "HTTP status 404"},
          {.id = 4711, .verdict = Verdict::sent}},
      6000));
  EXPECT_TRUE(store->due_outbox(7999, 10, {})->empty());
  EXPECT_EQ(**store->next_outbox_wall_ms(6000), 8000);
  EXPECT_FALSE(store->next_outbox_wall_ms(8000)->has_value());
  auto again = store->due_outbox(8000, 10, {});
  ASSERT_EQ(again->size(), 1u);
  EXPECT_EQ(again->front().attempts, 1u);
  EXPECT_EQ(again->front().last_status, 503);
  EXPECT_EQ(again->front().last_error, "HTTP status 503");
  auto letters = store->list_dead(10);
  ASSERT_EQ(letters->size(), 1u);
  EXPECT_EQ(letters->front().id, "o" + std::to_string(dead_id));
  EXPECT_EQ(letters->front().what, "webhook");
  EXPECT_EQ(letters->front().url, "http://c");
  EXPECT_EQ(store->find_dead(letters->front().id)->body, "{\"a\":1}");
  expect_sound(*store);
  EXPECT_EQ(*store->replay_dead(letters->front().id, 9000), 1u);
  EXPECT_EQ(store->due_outbox(9000, 10, {})->size(), 2u);
  EXPECT_EQ(store->outbox_accounts()->front().pending, 2u);
  expect_sound(*store);
  ASSERT_TRUE(store->settle_outbox(
      std::vector<OutboxResult>{{.id = dead_id, .verdict = Verdict::dead}}, 9500));
  EXPECT_EQ(*store->purge_dead(std::nullopt), 1u);
  EXPECT_EQ(store->outbox_accounts()->front().purged, 1u);
  expect_sound(*store);
}

// Several connections, full disks.

TEST(Store, ConnectionsTakeTurns) {
  TempDirectory state;
  constexpr std::uint64_t kRows = 40;
  auto keep_open = open_store(state.path());
  const auto add_rows = [&](std::uint64_t from) -> Outcome<void> {
    auto store = Store::open({.directory = state.path()});
    if (!store) return store.failure();
    for (std::uint64_t seq = from; seq < from + kRows; ++seq) {
      auto batch = (*store)->begin();
      if (!batch) return batch.failure();
      const std::string id = event_id(seq);
      auto added = batch->add_effects({.event_id = id, .seq = seq, .trigger = "t"},
                                      {webhook_effect("http://h")}, 1);
      if (!added) return added.failure();
      if (auto done = batch->commit(); !done) return done;
    }
    return {};
  };
  std::vector<std::thread> threads;
  std::vector<std::string> problems(3);
  for (std::size_t i = 0; i < problems.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto done = add_rows(i * kRows);
      if (!done) problems[i] = done.failure().text;
    });
  }
  for (auto& thread : threads) thread.join();
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  EXPECT_EQ(keep_open->outbox_accounts()->front().added, 3 * kRows);
  expect_sound(*keep_open);
}

TEST(Store, BusyStoreIsAnErrorAfterItsPatience) {
  TempDirectory state;
  auto first = open_store(state.path());
  auto second = open_store(state.path(), {.busy_ms = 50});
  auto batch = first->begin();
  ASSERT_TRUE(batch);
  const auto start = std::chrono::steady_clock::now();
  auto refused = second->begin();
  const auto waited = std::chrono::steady_clock::now() - start;
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, Errc::busy);
  EXPECT_GE(waited, std::chrono::milliseconds{40});
  EXPECT_LT(waited, std::chrono::seconds{30});
  EXPECT_TRUE(second->list_outbox(1));  // readers do not wait
  EXPECT_TRUE(batch->commit());
  EXPECT_TRUE(second->begin());
}

TEST(Store, FullFileRollsTheBatchBackAndLosesNothing) {
  TempDirectory state;
  constexpr std::uint64_t kBytesMax = 512 * 1024;
  auto store = open_store(state.path(), {.file_bytes_max = kBytesMax});
  const auto fill = [&](std::uint64_t from, std::uint64_t count) -> Outcome<void> {
    auto batch = store->begin();
    if (!batch) return batch.failure();
    for (std::uint64_t seq = from; seq < from + count; ++seq) {
      const std::string id = event_id(seq);
      EventData event = event_data(seq);
      event.value.assign(4000, 'v');
      auto moved = batch->move_in(
          {.run = {.event_id = id, .seq = seq, .trigger = "t"}, .key_hash = seq}, event, 1000);
      if (!moved) {
        EXPECT_EQ(batch->commit().failure().code, Errc::no_space);  // it stays spoiled
        return moved.failure();
      }
    }
    return batch->commit();
  };
  std::uint64_t stored = 0;
  Outcome<void> outcome;
  while (stored < 1000 && (outcome = fill(stored, 10))) stored += 10;
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure().code, Errc::no_space) << outcome.failure().text;
  EXPECT_NE(outcome.failure().text.find("make room"), std::string::npos);
  EXPECT_EQ(store->account("t")->moved_in, stored);
  expect_sound(*store);
  // Room again: what was refused goes in.
  in_batch(*store, [&](Batch& batch) {
    const auto runs = store->list_runs(20);
    for (const StoredRun& run : *runs) EXPECT_TRUE(*batch.finish(run.id, 2000));
  });
  ASSERT_TRUE(fill(stored, 10));
  EXPECT_EQ(store->account("t")->moved_in, stored + 10);
  expect_sound(*store);
}

TEST(Store, OverlongErrorsAreCut) {
  TempDirectory state;
  auto store = open_store(state.path());
  const std::string text(3 * kErrorTextBytesMax, 'e');
  in_batch(*store, [&](Batch& batch) {
    const auto id = move_in(batch, 1, 1);
    EXPECT_TRUE(*batch.fail(id, {.attempts = 2, .error = text, .traceback = text}));
  });
  EXPECT_EQ(store->list_runs(1)->front().error.size(), kErrorTextBytesMax);
  EXPECT_EQ(store->list_runs(1)->front().traceback.size(), kErrorTextBytesMax);
}

}  // namespace
}  // namespace cachee::daemon
