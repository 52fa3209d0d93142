// Goal: no order of the accesses of two parties, and no death at any of them, breaks a promise.
// Method: the library itself under a scheduler that tries every schedule with at most two
// preemptions, and every one with one preemption and one death (its recovery is a party of its
// own). A preempted party is a stopped one for the others: they must get to their ends. Behind each
// run: recovery, fsck, linearizability by search, events against effects, leaks.
//
// Orders matter only at words that both parties use, so only there are schedules told apart. The
// default tries every schedule with one preemption or one death and CACHEE_SIM_SAMPLES (80) of the
// others; CACHEE_SIM_EXHAUSTIVE=1 tries them all (long form). A schedule that failed is repeated by
// CACHEE_SIM_SCHEDULE="..." with the filter it was printed with.
#include <gtest/gtest.h>

#include "sim/scenarios.hpp"

namespace cachee::sim {

inline void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

namespace {

class EverySchedule : public ::testing::TestWithParam<Scenario> {
 protected:
  static void explore(Budget all, Budget at_least) {
    const auto begun = std::clock();
    Explorer explorer{GetParam()};
    if (const char* schedule = std::getenv("CACHEE_SIM_SCHEDULE")) {
      EXPECT_EQ(explorer.replay(schedule).wrong, "");
      return;
    }
    const bool exhaustive = test::number_setting("CACHEE_SIM_EXHAUSTIVE", 0) != 0;
    Explored e = explorer.exhaust(exhaustive ? all : at_least);
    EXPECT_EQ(e.wrong, "");
    if (!exhaustive) {
      const std::uint64_t seed = test::print_seed(GetParam().name.c_str());
      const Explored more =
          explorer.sample(all, seed, static_cast<std::uint64_t>(test::number_setting("CACHEE_SIM_SAMPLES", 80)));
      EXPECT_EQ(more.wrong, "");
      e.schedules += more.schedules;
      e.steps += more.steps;
    }
    const double seconds = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
    std::printf("%s: %llu schedules, %llu steps each, %.0f schedules/s\n", GetParam().name.c_str(),
                static_cast<unsigned long long>(e.schedules), static_cast<unsigned long long>(e.steps / e.schedules),
                static_cast<double>(e.schedules) / seconds);
  }
};

TEST_P(EverySchedule, WithTwoPreemptions) { explore({.preemptions = 2, .kills = 0}, {.preemptions = 1, .kills = 0}); }
TEST_P(EverySchedule, WithOneDeath) { explore({.preemptions = 1, .kills = 1}, {.preemptions = 0, .kills = 1}); }

INSTANTIATE_TEST_SUITE_P(Pairs, EverySchedule, ::testing::ValuesIn(pairs()),
                         [](const auto& s) { return s.param.name; });

}  // namespace
}  // namespace cachee::sim
