// Goal: a TTL goes by CLOCK_MONOTONIC alone and a moment that was named by the wall clock alone
// (libshm/doc/expiry-eviction.md): steps of the wall clock and time that the machine sleeps move no TTL, and end a value
// when the wall clock says so. And whatever has passed its deadline is there for nobody, before any sweep.
// Method: the clocks of this process are stepped (support/stepped_clock.hpp).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <limits>
#include <thread>

#include "crash/world.hpp"
#include "support/stepped_clock.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kDay = 24h;

/// Asked from this program: the standard library's own question goes past the stepped clock where a sanitizer stands between.
std::int64_t wall_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

SegmentOptions some_buckets() { return small_world(64); }

/// A look that leaves what it finds expired.
Result<Peek> look(Cache& cache, KeyView key) { return cache.peek(key); }

/// Real time passes, whatever the clocks say.
void pass(std::chrono::milliseconds by) { std::this_thread::sleep_for(by); }

class ClockSteps : public ::testing::TestWithParam<std::chrono::hours> {
 protected:
  void expect_an_hour(KeyView key) { expect_an_hour(world_.cache(), key); }
  static void expect_an_hour(Cache& cache, KeyView key) {
    const auto left = cache.ttl(key);
    ASSERT_TRUE(left && *left) << key;
    EXPECT_GT(**left, 59min) << key;
    EXPECT_LE(**left, 60min) << key;
  }
  std::uint64_t sweep() { return world_.keeper().expire_due(monotonic_ns(), 1 << 20); }
  EventView event(std::uint64_t position) { return *reader_.at(EventSeq{position}); }

  SteppedClock clock_;
  World world_{some_buckets(), kAllEvents};
  EventReader reader_ = world_.keeper().reader();
};

TEST_P(ClockSteps, OfTheWallClockMoveNoDeadline) {
  Cache& cache = world_.cache();
  ASSERT_TRUE(cache.set("ttl", "v", {.ttl = 1h}));
  ASSERT_TRUE(cache.set("touched", "v"));
  ASSERT_TRUE(*cache.touch("touched", 1h));
  // In the same buckets, and visited for the step.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(cache.set("at" + std::to_string(i), "v", {.deadline_wall_ms = wall_ms() + 600'000}));
  clock_.step_wall(GetParam());
  EXPECT_EQ(sweep(), GetParam() > 0h ? 100u : 0u);
  for (const char* key : {"ttl", "touched"}) {
    EXPECT_TRUE(cache.get(key)) << key;
    expect_an_hour(key);
  }
  EXPECT_EQ(world_.damage(), "");
}

TEST_P(ClockSteps, OfTheWallClockMoveTheMomentThatWasNamedAlong) {
  Cache& cache = world_.cache();
  const std::int64_t moment_ms = wall_ms() + std::int64_t{std::chrono::milliseconds{kDay}.count()} + 3'600'000;
  ASSERT_TRUE(cache.set("at", "v", {.deadline_wall_ms = moment_ms}));
  ASSERT_TRUE(cache.set("touched at", "v"));
  ASSERT_TRUE(*cache.touch_at("touched at", moment_ms));
  ASSERT_TRUE(cache.set("kept", "v", {.deadline_wall_ms = moment_ms}));
  ASSERT_TRUE(cache.set("kept", "new", {.keep_ttl = true}));
  ASSERT_TRUE(cache.set("changed", "1", {.deadline_wall_ms = moment_ms}));
  ASSERT_TRUE(cache.increment("changed"));
  clock_.step_wall(GetParam());
  EXPECT_EQ(sweep(), 0u);
  const auto left = std::chrono::milliseconds{moment_ms - wall_ms()};
  for (const char* key : {"at", "touched at", "kept", "changed"}) {
    EXPECT_TRUE(cache.get(key)) << key;
    EXPECT_NEAR(static_cast<double>((**cache.ttl(key)).count()), static_cast<double>(left.count()), 10'000) << key;
    EXPECT_EQ(**cache.deadline_wall_ms(key), moment_ms) << key;
    EXPECT_EQ(cache.inspect(key)->deadline_wall_ms, moment_ms) << key;
  }
  // One that is over ends the value at once, and for good: also when the clock is set back before it.
  ASSERT_TRUE(cache.set("past", "v", {.deadline_wall_ms = wall_ms() - 1000}));
  EXPECT_EQ(cache.get("past").code(), Errc::not_found);
  ASSERT_TRUE(cache.set("past", "v", {.deadline_wall_ms = wall_ms() - 1000}));
  clock_.step_wall(-1h);
  EXPECT_EQ(cache.get("past").code(), Errc::not_found);
  EXPECT_EQ(world_.damage(), "");
}

TEST_P(ClockSteps, LeaveConditionsOfATouchThatCompareBothClocks) {
  Cache& cache = world_.cache();
  ASSERT_TRUE(cache.set("ttl", "v", {.ttl = 1h}));
  clock_.step_wall(GetParam());
  const std::int64_t now_ms = wall_ms();
  EXPECT_FALSE(*cache.touch_at("ttl", now_ms + 3'500'000, ExpireCondition::greater));
  EXPECT_FALSE(*cache.touch_at("ttl", now_ms + 3'700'000, ExpireCondition::less));
  EXPECT_TRUE(*cache.touch_at("ttl", now_ms + 3'700'000, ExpireCondition::greater));
  EXPECT_FALSE(*cache.touch_at("ttl", now_ms + 3'700'000, ExpireCondition::greater));
  EXPECT_FALSE(*cache.touch("ttl", 3'600s, ExpireCondition::greater));
  EXPECT_FALSE(*cache.touch("ttl", 3'800s, ExpireCondition::less));
  EXPECT_TRUE(*cache.touch("ttl", 3'600s, ExpireCondition::less));
  EXPECT_FALSE(cache.inspect("ttl")->deadline_wall_ms);
  expect_an_hour("ttl");
}

TEST_P(ClockSteps, OfTheWallClockHoldNoExpiryUpAndDoNotShowInItsEvent) {
  Cache& cache = world_.cache();
  const TimeNs before = monotonic_ns();
  ASSERT_TRUE(cache.set("k", "v", {.ttl = 20ms}));
  clock_.step_wall(GetParam());
  EXPECT_TRUE(cache.get("k") || monotonic_ns() > before + 20'000'000);
  const TimeNs next = world_.keeper().next_deadline();
  EXPECT_GT(next, before);
  EXPECT_LT(next, monotonic_ns() + 1'000'000'000);
  pass(25ms);
  const std::int64_t swept_ms = wall_ms();
  ASSERT_EQ(sweep(), 1u);
  EXPECT_EQ(cache.get("k").code(), Errc::not_found);
  const EventView end = event(1);
  ASSERT_EQ(end.kind, EventKind::expire);
  EXPECT_GE(end.timestamp_wall_us() / 1000, swept_ms);
  EXPECT_LE(end.timestamp_wall_us() / 1000, wall_ms());
  // By the clock as it is now, and durations by none.
  EXPECT_NEAR(static_cast<double>(*end.deadline_wall_us() / 1000), static_cast<double>(wall_ms()), 10'000);
  EXPECT_EQ(end.ttl_ms(), 0);
  EXPECT_LT(end.lag_us(), 10'000'000);
  EXPECT_GE(end.age_ms(), 20u);
  EXPECT_LT(end.age_ms(), 10'000u);
  world_.drain();
  ASSERT_TRUE(cache.set("next", "v", {.ttl = 1h}));
  const EventView write = event(2);
  EXPECT_NEAR(static_cast<double>(*write.deadline_wall_us() / 1000), static_cast<double>(wall_ms() + 3'600'000), 10'000);
  EXPECT_NEAR(static_cast<double>(*write.ttl_ms()), 3'600'000, 10'000);
}

INSTANTIATE_TEST_SUITE_P(ADay, ClockSteps, ::testing::Values(kDay, -kDay),
                         [](const auto& step) { return step.param > 0h ? "Forward" : "Back"; });

TEST(ClockSuspend, DoesNotCountForADeadline) {
  SteppedClock clock;
  World world{some_buckets(), kAllEvents};
  Cache& cache = world.cache();
  ASSERT_TRUE(cache.set("long", "v", {.ttl = 1h}));
  clock.suspend();
  // Written behind the suspend, so that no pause of this process can be taken for the time that passes.
  ASSERT_TRUE(cache.set("short", "v", {.ttl = 20ms}));
  pass(60ms);
  clock.step_wall(kDay);
  ASSERT_TRUE(cache.get("short"));
  EXPECT_EQ(*cache.ttl("short"), 20ms);
  EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 0u);
  clock.resume();
  ASSERT_TRUE(cache.get("long"));
  EXPECT_GT(**cache.ttl("long"), 59min);
  // What was left of it passes after the resume, and then it ends.
  pass(25ms);
  EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 1u);
  EXPECT_EQ(cache.get("short").code(), Errc::not_found);
  EXPECT_TRUE(cache.get("long"));
}

TEST(ClockSuspend, EndsWhatWasToEndMeanwhile) {
  SteppedClock clock;
  World world{some_buckets(), kAllEvents};
  Cache& cache = world.cache();
  ASSERT_TRUE(cache.set("set", "v", {.deadline_wall_ms = wall_ms() + 3'600'000}));
  ASSERT_TRUE(cache.set("touched", "v"));
  ASSERT_TRUE(*cache.touch_at("touched", wall_ms() + 3'600'000));
  ASSERT_TRUE(cache.set("tomorrow", "v", {.deadline_wall_ms = wall_ms() + std::chrono::milliseconds{kDay}.count() + 3'600'000}));
  clock.suspend();
  clock.step_wall(kDay);  // which went by meanwhile
  clock.resume();
  for (const char* key : {"set", "touched"}) EXPECT_EQ(look(world.cache(), key).code(), Errc::not_found) << key;
  EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 2u);
  EXPECT_TRUE(cache.get("tomorrow"));
  EXPECT_LE(**cache.ttl("tomorrow"), 1h);
}

// A moment that was named: who notices a step, and when.

class ClockStepsPastAMoment : public ::testing::Test {
 protected:
  static constexpr int kKeys = 100;
  void SetUp() override {
    for (int i = 0; i < kKeys; ++i) {
      ASSERT_TRUE(cache().set("at" + std::to_string(i), "v", {.deadline_wall_ms = wall_ms() + 1'800'000}));
      ASSERT_TRUE(cache().set("ttl" + std::to_string(i), "v", {.ttl = 10min}));
      world_.drain();
    }
  }
  Cache& cache() { return world_.cache(); }
  int readable(const char* prefix) {
    int there = 0;
    for (int i = 0; i < kKeys; ++i) there += look(cache(), prefix + std::to_string(i)).has_value();
    return there;
  }
  /// All that sweeps of 10 visits each find.
  std::uint64_t sweep() {
    std::uint64_t expired = 0;
    for (int i = 0; i < 50; ++i) expired += world_.keeper().expire_due(monotonic_ns(), 10);
    return expired;
  }

  SteppedClock clock_;
  World world_{some_buckets(), kAllEvents};
};

TEST_F(ClockStepsPastAMoment, MakeEveryReadMissAtOnce) {
  clock_.step_wall(1h);
  EXPECT_EQ(readable("at"), 0);
  EXPECT_EQ(readable("ttl"), kKeys);
}

TEST_F(ClockStepsPastAMoment, MakeEveryReadMissAtOnceWithoutASupervisor) {
  world_.drop_keeper();
  clock_.step_wall(1h);
  for (int i = 0; i < kKeys; ++i) EXPECT_EQ(cache().get("at" + std::to_string(i)).code(), Errc::not_found);
  EXPECT_EQ(readable("ttl"), kKeys);
  world_.new_keeper();
  EXPECT_EQ(world_.damage(), "");
}

TEST_F(ClockStepsPastAMoment, AreNoticedByTheNextSweep) {
  EXPECT_EQ(sweep(), 0u);
  clock_.step_wall(1h);
  EXPECT_EQ(sweep(), static_cast<std::uint64_t>(kKeys));
  world_.note();
  EXPECT_EQ(world_.history().complaints(), "");
  EXPECT_EQ(world_.damage(), "");
  // Only once: the summary is right again, and nothing is due.
  EXPECT_GT(world_.keeper().next_deadline(), monotonic_ns() + 500'000'000'000);
}

TEST_F(ClockStepsPastAMoment, AreNoticedByTheNextSupervisor) {
  world_.drop_keeper();
  clock_.step_wall(1h);
  world_.new_keeper();
  EXPECT_EQ(sweep(), static_cast<std::uint64_t>(kKeys));
  EXPECT_EQ(world_.damage(), "");
}

TEST_F(ClockStepsPastAMoment, AreNoticedByTheNextSupervisorAlsoWhenTheLastOneDiedOverAnother) {
  clock_.step_wall(20min);
  static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1));  // V0 and a bucket of V1
  EXPECT_EQ(world_.damage(), "");
  world_.drop_keeper();
  clock_.step_wall(20min);
  world_.new_keeper();
  EXPECT_EQ(sweep(), static_cast<std::uint64_t>(kKeys));
}

TEST_F(ClockStepsPastAMoment, AreNoticedWhileTheSweeperSleeps) {
  clock_.step_wall(1h);
  world_.keeper().wait_for_deadline(monotonic_ns() + 60'000'000'000);  // returns: the step was before
  EXPECT_EQ(sweep(), static_cast<std::uint64_t>(kKeys));
  world_.drain();
  ASSERT_TRUE(cache().set("at", "v", {.deadline_wall_ms = wall_ms() + 1'800'000}));
  std::atomic<bool> noticed{false};
  std::thread sweeper{[&] {
    while (!noticed) {
      world_.keeper().wait_for_deadline(monotonic_ns() + 60'000'000'000);
      noticed = world_.keeper().expire_due(monotonic_ns(), 1000) != 0;
    }
  }};
  pass(20ms);
  clock_.step_wall(1h);
  const TimeNs stepped = monotonic_ns();
  world_.keeper().note_clock_step();
  sweeper.join();
  EXPECT_LT(monotonic_ns() - stepped, 10'000'000'000);  // 100 ms where nothing else runs
}

TEST_F(ClockStepsPastAMoment, BackLetTheValuesLiveUntilTheWallClockIsThere) {
  clock_.step_wall(-1h);
  EXPECT_EQ(sweep(), 0u);
  EXPECT_EQ(readable("at"), kKeys);
  EXPECT_GT(**cache().ttl("at0"), 1h);
  // The summary expects them an hour later, too, and the TTLs before.
  const TimeNs next = world_.keeper().next_deadline();
  EXPECT_GT(next, monotonic_ns() + 500'000'000'000);
  EXPECT_LT(next, monotonic_ns() + 601'000'000'000);
  clock_.step_wall(1h + 29min);
  EXPECT_EQ(sweep(), 0u);
  EXPECT_EQ(readable("at"), kKeys);
  clock_.step_wall(1min);
  EXPECT_EQ(readable("at"), 0);
  EXPECT_EQ(sweep(), static_cast<std::uint64_t>(kKeys));
}

TEST_F(ClockStepsPastAMoment, ShowInTheEventsOfMomentsAsTheClockSays) {
  const std::int64_t moment_ms = wall_ms() + 1'800'000;
  ASSERT_TRUE(cache().set("k", "v", {.deadline_wall_ms = moment_ms}));
  EventReader reader = world_.keeper().reader();
  const EventView write = *reader.at(EventSeq{reader.head()});
  EXPECT_EQ(write.deadline_wall_us(), moment_ms * 1000);
  EXPECT_NEAR(static_cast<double>(*write.ttl_ms()), 1'800'000, 10'000);
  clock_.step_wall(1h);
  EXPECT_EQ(write.deadline_wall_us(), moment_ms * 1000);
  pass(10ms);  // the stamps of events go by the processor's counter for so long
  EXPECT_EQ(cache().get("k").code(), Errc::not_found);
  std::uint64_t at = reader.head();
  while (reader.at(EventSeq{at})->kind != EventKind::expire || reader.at(EventSeq{at})->key != "k") ++at;
  const EventView end = *reader.at(EventSeq{at});
  EXPECT_EQ(end.deadline_wall_us(), moment_ms * 1000);
  EXPECT_EQ(end.ttl_ms(), 0);
  EXPECT_NEAR(static_cast<double>(end.lag_us()), 1'800e6, 10e6);
}

TEST_F(ClockStepsPastAMoment, EndAValueForRoomAsExpiry) {
  world_.drop_keeper();  // nobody notices the step
  clock_.step_wall(1h);
  EventReader reader{cache()};
  const std::uint64_t first = reader.tail();
  for (int i = 0; i < 60 && cache().set("large" + std::to_string(i), std::string(60'000, 'l')); ++i) {
  }
  std::uint64_t ended = 0;
  for (std::uint64_t at = first; reader.at(EventSeq{at}); ++at) {
    const EventView event = *reader.at(EventSeq{at});
    if (!event.key.starts_with("at")) continue;
    EXPECT_EQ(event.kind, EventKind::expire) << event.key;
    ++ended;
  }
  EXPECT_GT(ended, 0u);
  world_.new_keeper();
}

TEST(ClockMoments, FarAwayNeitherWrapNorExpire) {
  SteppedClock clock;
  World world{some_buckets(), kAllEvents};
  Cache& cache = world.cache();
  const std::int64_t year_9999_ms = 253402300799000;
  ASSERT_TRUE(cache.set("9999", "v", {.deadline_wall_ms = year_9999_ms}));
  ASSERT_TRUE(cache.set("last", "v", {.deadline_wall_ms = std::numeric_limits<std::int64_t>::max()}));
  ASSERT_TRUE(cache.set("first", "v", {.deadline_wall_ms = std::numeric_limits<std::int64_t>::min()}));
  EXPECT_EQ(cache.get("first").code(), Errc::not_found);
  for (const auto step : {std::chrono::hours{24 * 365 * 150}, std::chrono::hours{-24 * 365 * 200}}) {
    clock.step_wall(step);
    EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 0u);
    for (const char* key : {"9999", "last"}) {
      EXPECT_TRUE(cache.get(key)) << key;
      EXPECT_GT(**cache.ttl(key), std::chrono::hours{24 * 365 * 1900}) << key;
    }
    EXPECT_EQ(world.damage(), "");
  }
}

// Before any sweep.

struct Look {
  const char* name;
  std::function<void(Cache&, KeyView)> expect_absent;
};

constexpr std::size_t kReads = 9;  // the first ones change nothing
const Look kLooks[] = {
    {"get", [](Cache& c, KeyView k) { EXPECT_EQ(c.get(k).code(), Errc::not_found); }},
    {"get_into", [](Cache& c, KeyView k) {
       char out[16] = {};
       EXPECT_EQ(c.get_into(k, out).code(), Errc::not_found);
     }},
    {"get_many", [](Cache& c, KeyView k) {
       const KeyView keys[] = {"stays", k, "stays"};
       ASSERT_TRUE(c.get_many(keys, [](std::size_t i, std::optional<ValueView> value) { EXPECT_EQ(value.has_value(), i != 1); }));
     }},
    {"view", [](Cache& c, KeyView k) { EXPECT_EQ(c.view(k).code(), Errc::not_found); }},
    {"inspect", [](Cache& c, KeyView k) { EXPECT_EQ(c.inspect(k).code(), Errc::not_found); }},
    {"contains", [](Cache& c, KeyView k) { EXPECT_FALSE(*c.contains(k)); }},
    {"ttl", [](Cache& c, KeyView k) { EXPECT_EQ(c.ttl(k).code(), Errc::not_found); }},
    {"random_key", [](Cache& c, KeyView) {
       for (int i = 0; i < 50; ++i) EXPECT_EQ(*c.random_key(), "stays");
     }},
    {"scan", [](Cache& c, KeyView k) {
       std::uint64_t cursor = 0;
       do {
         const auto scanned = c.scan(cursor, 100, [&](KeyView seen) { EXPECT_NE(seen, k); });
         ASSERT_TRUE(scanned);
         cursor = scanned->cursor;
       } while (cursor != 0);
     }},
    {"touch", [](Cache& c, KeyView k) { EXPECT_EQ(c.touch(k, 1h).code(), Errc::not_found); }},
    {"touch_at", [](Cache& c, KeyView k) { EXPECT_EQ(c.touch_at(k, wall_ms() + 3'600'000).code(), Errc::not_found); }},
    {"persist", [](Cache& c, KeyView k) { EXPECT_EQ(c.persist(k).code(), Errc::not_found); }},
    {"replace", [](Cache& c, KeyView k) { EXPECT_EQ(c.replace(k, "new").code(), Errc::not_found); }},
    {"compare_and_set", [](Cache& c, KeyView k) {
       for (std::uint64_t version = 0; version < 10; ++version) {
         EXPECT_EQ(c.compare_and_set(k, version, "new").code(), Errc::not_found) << version;
       }
     }},
    {"erase", [](Cache& c, KeyView k) { EXPECT_EQ(c.erase(k, {.return_old = true}).code(), Errc::not_found); }},
    {"update", [](Cache& c, KeyView k) {
       EXPECT_EQ(c.update(k, [](std::optional<ValueView> old) -> std::optional<std::string> {
                    EXPECT_FALSE(old);
                    return std::nullopt;
                  }).code(),
                 Errc::would_block);
     }},
    {"set", [](Cache& c, KeyView k) {
       const auto written = c.set(k, "new", {.keep_ttl = true, .return_old = true});
       EXPECT_TRUE(written->created);
       EXPECT_FALSE(written->old_value);
       EXPECT_FALSE(*c.ttl(k)) << "it kept the deadline of a value that had gone";
     }},
    {"add", [](Cache& c, KeyView k) { EXPECT_TRUE(c.add(k, "new")); }},
    {"increment", [](Cache& c, KeyView k) { EXPECT_EQ(*c.increment(k, 5), 5); }},
    {"append", [](Cache& c, KeyView k) { EXPECT_EQ(*c.append(k, "new"), 3u); }},
};

TEST(ExpiredBeforeAnySweep, IsThereForNobody) {
  for (const Look& look : kLooks) {
    SCOPED_TRACE(look.name);
    // A world for each, so that nobody before has met the value and taken it away.
    World world{some_buckets(), 0};
    Cache& cache = world.cache();
    ASSERT_TRUE(cache.set("stays", "v"));
    ASSERT_TRUE(cache.set("k", "41", {.ttl = 1ms}));
    pass(3ms);
    look.expect_absent(cache, "k");
    EXPECT_EQ(world.damage(), "");
  }
}

TEST(ExpiredBeforeAnySweep, IsThereForNobodyWhoOnlyReadsEither) {
  World world{some_buckets(), 0};
  ASSERT_TRUE(world.cache().set("stays", "v"));
  ASSERT_TRUE(world.cache().set("k", "41", {.ttl = 1ms}));
  auto reader = Cache::open({.name = world.keeper().cache().name(), .access = Access::read_only});
  ASSERT_TRUE(reader);
  pass(3ms);
  for (const Look& look : std::span{kLooks}.first(kReads)) {
    SCOPED_TRACE(look.name);
    look.expect_absent(*reader, "k");
  }
}

}  // namespace
}  // namespace cachee::test
