// Goal: deadlines go by CLOCK_MONOTONIC alone (libshm/doc/expiry-eviction.md): steps of the wall clock and time that the
// machine sleeps move none. And whatever has passed its deadline is there for nobody, before any sweep.
// Method: the clocks of this process are stepped (support/stepped_clock.hpp).
#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <functional>
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

/// Real time passes, whatever the clocks say.
void pass(std::chrono::milliseconds by) { std::this_thread::sleep_for(by); }

class ClockSteps : public ::testing::TestWithParam<std::chrono::hours> {
 protected:
  void expect_an_hour(KeyView key) {
    const auto left = world_.cache().ttl(key);
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
  ASSERT_TRUE(cache.set("at", "v", {.deadline_wall_ms = wall_ms() + 3'600'000}));
  ASSERT_TRUE(cache.set("touched", "v"));
  ASSERT_TRUE(*cache.touch("touched", 1h));
  ASSERT_TRUE(cache.set("touched at", "v"));
  ASSERT_TRUE(*cache.touch_at("touched at", wall_ms() + 3'600'000));
  clock_.step_wall(GetParam());
  EXPECT_EQ(sweep(), 0u);
  for (const char* key : {"ttl", "at", "touched", "touched at"}) {
    EXPECT_TRUE(cache.get(key)) << key;
    expect_an_hour(key);
  }
  // A moment is that of the clock as it is when it is named.
  ASSERT_TRUE(cache.set("later", "v", {.deadline_wall_ms = wall_ms() + 3'600'000}));
  expect_an_hour("later");
  ASSERT_TRUE(*cache.touch_at("at", wall_ms() + 3'600'000));
  expect_an_hour("at");
  ASSERT_TRUE(cache.set("past", "v", {.deadline_wall_ms = wall_ms() - 1000}));
  EXPECT_EQ(cache.get("past").code(), Errc::not_found);
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

TEST(ClockSuspend, LetsAWallClockDeadlineBeReadBehindItsMoment) {  // as documented: it is reckoned when it is set
  SteppedClock clock;
  World world{some_buckets(), kAllEvents};
  Cache& cache = world.cache();
  ASSERT_TRUE(cache.set("set", "v", {.deadline_wall_ms = wall_ms() + 3'600'000}));
  ASSERT_TRUE(cache.set("touched", "v"));
  ASSERT_TRUE(*cache.touch_at("touched", wall_ms() + 3'600'000));
  clock.suspend();
  clock.step_wall(kDay);  // which went by meanwhile
  clock.resume();
  EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 0u);
  for (const char* key : {"set", "touched"}) {
    EXPECT_TRUE(cache.get(key)) << key;
    EXPECT_GT(**cache.ttl(key), 59min) << key;
  }
  // Named again, it counts by the clock as it is now.
  ASSERT_TRUE(*cache.touch_at("set", wall_ms() - 1000));
  EXPECT_EQ(cache.get("set").code(), Errc::not_found);
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
