// Goal: runs of consumer groups are found in their order and by their group alone, and files of before
// there were groups are taken over.
#include "store/store.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using test::TempDirectory;
using Ids = std::vector<std::int64_t>;

constexpr Store::DueLimits kAll{100, std::size_t{1} << 20};

Ids ids_of(const Outcome<std::vector<StoredRun>>& runs) {
  EXPECT_TRUE(runs);
  Ids ids;
  for (const StoredRun& run : *runs) ids.push_back(run.id);
  return ids;
}

std::int64_t hand_over(Store& store, std::uint64_t seq, std::uint64_t key_hash, std::string_view group, std::int64_t now_wall_ms) {
  auto batch = store.begin();
  const std::string id = event_id(seq);
  auto moved = batch->move_in({.run = {.event_id = id, .seq = seq, .trigger = group},
                               .trigger_id = 7,
                               .key_hash = key_hash,
                               .for_group = true,
                               .state = RunState::held},
                              event_data(seq), now_wall_ms);
  EXPECT_TRUE(moved && moved->added);
  EXPECT_TRUE(batch->commit());
  return moved->id;
}

void finish(Store& store, std::int64_t id, std::int64_t now_wall_ms) {
  auto batch = store.begin();
  const auto finished = batch->finish(id, now_wall_ms);
  EXPECT_TRUE(finished && *finished);
  EXPECT_TRUE(batch->commit());
}

TEST(StoreGroups, OldestOfEachKeyIsDueAndTheNextWhenThatIsOver) {
  TempDirectory state;
  auto store = open_store(state.path());
  const auto a1 = hand_over(*store, 1, 10, "g", 100);
  const auto a2 = hand_over(*store, 2, 10, "g", 101);
  const auto b1 = hand_over(*store, 3, 20, "g", 102);
  const auto other = hand_over(*store, 4, 10, "h", 103);
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, kAll, {})), (Ids{a1, b1}));
  EXPECT_EQ(ids_of(store->due_of_group("h", 1000, kAll, {})), (Ids{other}));
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, kAll, [&](std::int64_t id) { return id == a1; })), (Ids{b1}));
  finish(*store, a1, 200);
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, kAll, {})), (Ids{b1, a2}));
  expect_sound(*store);
}

TEST(StoreGroups, CountAndBytesBoundWhatOneLookTakes) {
  TempDirectory state;
  auto store = open_store(state.path());
  for (std::uint64_t n = 0; n < 10; ++n) hand_over(*store, n, n, "g", 100);
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, {3, 1 << 20}, {})).size(), 3u);
  const std::size_t one = encode(event_data(0)).size();
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, {10, one + 1}, {})).size(), 2u) << "the one that reaches the bound is the last";
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, {10, 1}, {})).size(), 1u) << "never none";
}

TEST(StoreGroups, ExecutorsDoNotSeeThem) {
  TempDirectory state;
  auto store = open_store(state.path());
  hand_over(*store, 1, 10, "g", 100);
  EXPECT_EQ(ids_of(store->due_runs(1000, 100, {})), Ids{});
  EXPECT_EQ(*store->next_run_wall_ms(), std::nullopt);
  EXPECT_TRUE(store->blocked_lanes()->empty());
  EXPECT_EQ(*store->groups_with_runs(), std::vector<std::string>{"g"});
  EXPECT_EQ(*store->run_state(event_id(1), "g"), RunState::waiting);
  EXPECT_EQ(*store->run_state(event_id(1), "h"), std::nullopt);
}

TEST(StoreGroups, PutOffRunIsDueInItsTime) {
  TempDirectory state;
  auto store = open_store(state.path());
  const auto id = hand_over(*store, 1, 10, "g", 100);
  auto batch = store->begin();
  EXPECT_TRUE(batch->fail(id, {.attempts = 1, .next_attempt_wall_ms = 5000, .error = "no"}));
  EXPECT_TRUE(batch->commit());
  EXPECT_EQ(ids_of(store->due_of_group("g", 4999, kAll, {})), Ids{});
  EXPECT_EQ(*store->next_of_group("g", 4999), 5000);
  EXPECT_EQ(*store->next_of_group("g", 5000), std::nullopt);
  EXPECT_EQ(ids_of(store->due_of_group("g", 5000, kAll, {})), Ids{id});
}

TEST(StoreGroups, FileOfBeforeThereWereGroupsIsTakenOver) {
  TempDirectory state;
  std::int64_t id = 0;
  {
    auto store = open_store(state.path());
    TriggerSpec spec;
    spec.name = "t";
    spec.pattern = "*";
    EXPECT_TRUE(store->upsert_trigger(spec));
    auto batch = store->begin();
    id = move_in(*batch, 1, 10);
    EXPECT_TRUE(batch->commit());
  }
  {
    sql::Connection db{state.path() + "/cachee.db", {}};
    unmake_rows_of_many(db);
    db.script(
        "DROP INDEX runs_ready; DROP INDEX runs_due; ALTER TABLE runs DROP COLUMN for_group;"
        "ALTER TABLE triggers DROP COLUMN is_group;"
        "CREATE INDEX runs_due ON runs (next_attempt_wall_ms, id) WHERE state = 0;"
        "ALTER TABLE log_files DROP COLUMN chain; ALTER TABLE log_files DROP COLUMN begun_wall_ms;"
        "PRAGMA user_version = 1");
  }
  auto store = open_store(state.path());
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(ids_of(store->due_runs(1000, 100, {})), Ids{id});
  ASSERT_EQ(store->load_triggers()->size(), 1u);
  EXPECT_FALSE((*store->load_triggers())[0].is_group);
  hand_over(*store, 2, 10, "g", 100);
  EXPECT_EQ(ids_of(store->due_of_group("g", 1000, kAll, {})).size(), 1u);
  expect_sound(*store);
}

TEST(StoreGroups, GroupsAreKeptAsWhatTheyAre) {
  TempDirectory state;
  TriggerSpec spec;
  spec.name = "g";
  spec.pattern = "s:*";
  spec.is_group = true;
  spec.from_file = true;
  EXPECT_TRUE(open_store(state.path())->upsert_trigger(spec));
  const auto loaded = open_store(state.path())->load_triggers();
  ASSERT_EQ(loaded->size(), 1u);
  EXPECT_EQ((*loaded)[0], spec);
}

}  // namespace
}  // namespace cachee::daemon
