// Goal: the thread that expires keys sleeps as long as nothing is due, no longer, and never turns in a circle. Method:
// its waits beside writers, full rings and other sweepers; how long they take is only bounded where a busy machine
// cannot stretch it the wrong way.
#include <gtest/gtest.h>

#include <thread>

#include "api/handle.hpp"
#include "crash/world.hpp"
#include "expiry/expiry.hpp"
#include "segment/segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr TimeNs kMs = 1'000'000;
constexpr TimeNs kLong = 60'000 * kMs;  // nobody waits so long here
constexpr TimeNs kSoon = 20'000 * kMs;  // on any machine

SegmentOptions some_buckets() {
  SegmentOptions options = small_world(64);
  options.memory_bytes = 4 << 20;
  return options;
}

/// How long a wait took.
TimeNs wait(Maintainer& keeper, TimeNs longest) {
  const TimeNs before = monotonic_ns();
  keeper.wait_for_deadline(before + longest);
  return monotonic_ns() - before;
}

void pass(TimeNs time) {
  for (const TimeNs end = monotonic_ns() + time; monotonic_ns() < end;) std::this_thread::yield();
}

class ExpiryWait : public ::testing::Test {
 protected:
  Maintainer& keeper() { return world_.keeper(); }
  const shm::View& view() { return world_.cache().handle()->view(); }
  /// A waiter who is asleep, and how long it sleeps in all.
  template <class Meanwhile>
  TimeNs wait_while(Meanwhile&& meanwhile) {
    TimeNs took = 0;
    std::thread waiter{[&] { took = wait(keeper(), kLong); }};
    while (view().header->deadline_wanted.load_seq_cst() == 0) std::this_thread::yield();
    meanwhile();
    waiter.join();
    return took;
  }
  World world_{some_buckets(), kAllEvents};
};

TEST_F(ExpiryWait, EndsWithTheNextDeadline) {
  ASSERT_TRUE(world_.cache().set("k", "v", {.ttl = 50ms}));
  const TimeNs due = keeper().next_deadline();
  EXPECT_LT(wait(keeper(), kLong), kSoon);
  EXPECT_GE(monotonic_ns(), due - kMs) << "it did not wait for it";
  while (keeper().expire_due(monotonic_ns(), 100) == 0) ASSERT_LT(wait(keeper(), kLong), kSoon);
  EXPECT_GE(wait(keeper(), 30 * kMs), 29 * kMs) << "nothing is due any more";
}

TEST_F(ExpiryWait, EndsWithADeadlineThatIsSetMeanwhile) {
  ASSERT_TRUE(world_.cache().set("late", "v", {.ttl = 1h}));
  EXPECT_LT(wait_while([&] { ASSERT_TRUE(world_.cache().set("k", "v", {.ttl = 20ms})); }), kSoon);
}

TEST_F(ExpiryWait, EndsWhenAnotherSweeperPutsBackWhatItHadTaken) {
  ASSERT_TRUE(world_.cache().set("k", "v", {.ttl = 40s}));
  // The other one is between S1 and S3: the root says "none". Only then does the waiter look.
  auto& root = view().minima[view().levels.start[view().levels.count - 1]];
  root.store_seq_cst(layout::Link::kNever);
  const TimeNs took = wait_while([&] {
    root.store_seq_cst(0);
    mem::Word intent{};
    const std::uint64_t now_ms = view().ms_since_created(monotonic_ns());
    EXPECT_EQ(shm::sweep_deadlines(view(), intent, now_ms, 100, [](std::uint64_t) { return layout::Link::kNever; }), 0u);
  });
  EXPECT_LT(took, kSoon);
}

TEST_F(ExpiryWait, IsNoCircleWhileTheRingIsFullAndEndsWithRoom) {
  // Their write events fill the ring, and their ends find no room in it.
  std::uint64_t written = 0;
  while (world_.cache().set("k" + std::to_string(written), "v", {.ttl = 1ms})) ++written;
  ASSERT_GT(written, 50u);
  pass(3 * kMs);
  while (keeper().expire_due(monotonic_ns(), 1000) > 0) {
  }
  ASSERT_LE(keeper().next_deadline(), monotonic_ns()) << "nothing is left that is due";
  EXPECT_GE(wait(keeper(), 60 * kMs), 55 * kMs);
  TimeNs took = 0;
  std::thread waiter{[&] { took = wait(keeper(), kLong); }};
  while (view().header->space_wanted.load_seq_cst() == 0) std::this_thread::yield();
  handle_first(keeper(), 100);
  waiter.join();
  EXPECT_LT(took, kSoon);
  const EventReader reader = keeper().reader();
  const std::uint64_t events = reader.tail();
  static_cast<void>(keeper().expire_due(monotonic_ns(), 1000));
  EXPECT_GT(reader.tail(), events) << "ends that waited for room";
}

}  // namespace
}  // namespace cachee::test
