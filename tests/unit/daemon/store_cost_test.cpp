// Goal: what the dispatcher does for one run costs the same however many runs of other keys are open.
// Method: count SQLite's steps, which no other process on the machine can change.
#include <sqlite3.h>

#include "store/store.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using test::TempDirectory;

constexpr std::uint64_t kFewRuns = 50;
constexpr std::uint64_t kManyRuns = 2000;
constexpr std::uint64_t kNewSeq = 1'000'000;

std::uint64_t steps = 0;

int count_step(void*) {
  ++steps;
  return 0;
}

/// SQLite calls it for every connection that is opened.
int count_steps_of(sqlite3* db, char**, const void*) {
  sqlite3_progress_handler(db, 1, count_step, nullptr);
  return SQLITE_OK;
}

class StoreCost : public testing::Test {
 protected:
  static void SetUpTestSuite() { sqlite3_auto_extension(reinterpret_cast<void (*)()>(&count_steps_of)); }
  static void TearDownTestSuite() { sqlite3_reset_auto_extension(); }

  /// Steps of `work` in a batch, with so many open runs of one trigger, each of another key.
  template <class Work>
  static std::uint64_t steps_with(std::uint64_t open_runs, Work work) {
    TempDirectory state;
    auto store = open_store(state.path());
    std::vector<std::int64_t> ids;
    auto fill = store->begin();
    for (std::uint64_t n = 0; n < open_runs; ++n) ids.push_back(move_in(*fill, n, n));
    EXPECT_TRUE(fill->commit());
    auto batch = store->begin();
    const std::uint64_t before = steps;
    work(*store, *batch, ids);
    const std::uint64_t done = steps - before;
    EXPECT_TRUE(batch->commit());
    expect_sound(*store);
    return done;
  }

  template <class Work>
  static void expect_same_cost(Work work) {
    const std::uint64_t few = steps_with(kFewRuns, work);
    EXPECT_GT(few, 0u) << "nothing was counted";
    EXPECT_EQ(steps_with(kManyRuns, work), few);
  }
};

using Ids = std::vector<std::int64_t>;

TEST_F(StoreCost, OfAHeldRunMovingInIsTheSameForAnyNumberOfOpenRuns) {
  expect_same_cost([](Store&, Batch& batch, const Ids&) { move_in(batch, kNewSeq, kNewSeq, RunState::held); });
  expect_same_cost([](Store&, Batch& batch, const Ids& ids) { move_in(batch, kNewSeq, ids.size() - 1, RunState::held); });
}

TEST_F(StoreCost, OfARunThatEndsIsTheSameForAnyNumberOfOpenRuns) {
  expect_same_cost([](Store&, Batch& batch, const Ids& ids) { EXPECT_TRUE(*batch.finish(ids.back(), 2000)); });
  expect_same_cost([](Store&, Batch& batch, const Ids& ids) {
    EXPECT_TRUE(*batch.bury(ids.back(), {.attempts = 1, .error = "no"}, 2000));
  });
}

TEST_F(StoreCost, OfALookAtOneKeyIsTheSameForAnyNumberOfOpenRuns) {
  expect_same_cost([](Store& store, Batch&, const Ids& ids) { EXPECT_EQ(*store.count_lane("t", ids.size() - 1), 1u); });
}

TEST_F(StoreCost, OfRunsThatAreDueIsTheSameForAnyNumberOfOpenRuns) {
  expect_same_cost([](Store& store, Batch&, const Ids&) { EXPECT_EQ(store.due_runs(1000, 20, {})->size(), 20u); });
}

}  // namespace
}  // namespace cachee::daemon
