// Goal: the clocks that go by the processor's counter tell the kernel's time within kClockErrorNs, and never that of
// before a step or a suspend for longer than kStretchNs (libshm/src/base/clock.hpp).
// Method: reads of the kernel's clock before and behind each read stand for its moment, so a pause of this process
// widens the bracket; steps are those of support/stepped_clock.hpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "support/stepped_clock.hpp"

namespace cachee::test {
namespace {

using base::CounterClock;
using base::kClockErrorNs;
using base::read_clock;
using namespace std::chrono_literals;

/// Reads for so long; what was off by more than the error counts.
struct Watched {
  std::uint64_t reads = 0;
  std::uint64_t wrong = 0;
  TimeNs worst_ns = 0;
};
Watched watch(CounterClock& clock, clockid_t id, TimeNs for_ns) {
  Watched seen;
  const TimeNs until = read_clock(CLOCK_BOOTTIME) + for_ns;  // which steps leave alone
  while (read_clock(CLOCK_BOOTTIME) < until) {
    const TimeNs before = read_clock(id);
    const TimeNs told = clock.now();
    const TimeNs behind = read_clock(id);
    const TimeNs off = std::max({before - told, told - behind, TimeNs{0}});
    ++seen.reads;
    seen.wrong += off > kClockErrorNs;
    seen.worst_ns = std::max(seen.worst_ns, off);
  }
  return seen;
}

TEST(CounterClockTest, TellsTheKernelsTime) {
  base::rely_on_counter();
  for (const clockid_t id : {CLOCK_MONOTONIC, CLOCK_REALTIME}) {
    CounterClock clock{id};
    const Watched seen = watch(clock, id, base::kNsPerS / 2);
    EXPECT_EQ(seen.wrong, 0u) << "clock " << id << ", worst " << seen.worst_ns << " ns of " << seen.reads << " reads";
    RecordProperty("worst_ns", static_cast<int>(seen.worst_ns));
  }
}

TEST(CounterClockTest, TellsItInEveryThread) {
  base::rely_on_counter();
  std::atomic<std::uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      CounterClock clock{CLOCK_MONOTONIC};
      wrong += watch(clock, CLOCK_MONOTONIC, base::kNsPerS / 4).wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

/// Real time, whatever the clocks say: until the anchors of before no longer hold, with reads in between or without.
void pass(CounterClock& clock, bool reading) {
  for (int i = 0; i < 12; ++i) {
    std::this_thread::sleep_for(1ms);
    if (reading) static_cast<void>(clock.now());
  }
}

class CounterClockSteps : public ::testing::TestWithParam<bool> {
 protected:
  CounterClockSteps() {
    base::rely_on_counter();
    static_cast<void>(watch(wall_, CLOCK_REALTIME, 20 * base::kNsPerMs));
    static_cast<void>(watch(monotonic_, CLOCK_MONOTONIC, 20 * base::kNsPerMs));
  }
  SteppedClock steps_;
  CounterClock wall_{CLOCK_REALTIME};
  CounterClock monotonic_{CLOCK_MONOTONIC};
};

TEST_P(CounterClockSteps, OfTheWallClockAreSeen) {
  for (const std::chrono::nanoseconds by : {std::chrono::nanoseconds{1h}, std::chrono::nanoseconds{-2h}, std::chrono::nanoseconds{50ms}}) {
    steps_.step_wall(by);
    pass(wall_, GetParam());
    EXPECT_EQ(watch(wall_, CLOCK_REALTIME, 20 * base::kNsPerMs).wrong, 0u) << by.count();
  }
}

TEST_P(CounterClockSteps, ASuspendIsNotTimeThatPassed) {
  steps_.suspend();
  pass(monotonic_, GetParam());
  EXPECT_EQ(watch(monotonic_, CLOCK_MONOTONIC, 20 * base::kNsPerMs).wrong, 0u) << "while it stood";
  steps_.resume();
  pass(monotonic_, GetParam());
  EXPECT_EQ(watch(monotonic_, CLOCK_MONOTONIC, 20 * base::kNsPerMs).wrong, 0u) << "when it went on";
}

INSTANTIATE_TEST_SUITE_P(Reads, CounterClockSteps, ::testing::Bool(),
                         [](const auto& reading) { return reading.param ? "InBetween" : "OnlyBehind"; });

}  // namespace
}  // namespace cachee::test
