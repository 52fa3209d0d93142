// Goal: whoever recovers a dead client may die between any two instructions as well; whoever
// recovers both comes to the same. Method: at states of a victim that is run by the instruction, a
// supervisor is attached to a copy while the victim still counts as alive; then the victim is dead
// and the supervisor's reap() is run by the instruction, too. Each state it leaves is judged in a
// third segment, in which both are dead.
//
// CACHEE_DOUBLE_STEP_STRIDE=1 takes every state of every scenario but long fills (long form); default: every 9th
// of some.
#include <algorithm>

#include "crash/stage.hpp"

namespace cachee::test {
namespace {

long stride() { return setting("CACHEE_DOUBLE_STEP_STRIDE", 9); }

struct Totals {
  int scenarios = 0;
  long recoveries = 0, instructions = 0, states = 0, states_max = 0, wrong = 0;
};
Totals g_totals;

class DoubleStep : public ::testing::TestWithParam<Scenario> {};

TEST_P(DoubleStep, ARecovererMayDieAnywhere) {
  const Scenario& scenario = GetParam();
  Stage stage{scenario};
  Copy copy{scenario.options, scenario.events};
  Stepped victim = stage.victim({&copy});
  Choice choice{false};  // a value half filled in is like another
  long chosen = static_cast<long>(scenario.name.size()) % stride();
  long recoveries = 0;
  long states = 0;
  int bad = 0;
  const auto recover = [&] {
    const Judgement once = stage.judge(victim.state(), Between::nothing);
    EXPECT_EQ(once.wrong, "") << scenario.name << " dead behind instruction " << victim.instructions();
    copy.load(victim.state(), stage.history());
    copy.declare_alive(stage.registration());
    Stepped recoverer{copy.raw(), [&](Mark& mark) {
                        Maintainer keeper = copy.world().make_keeper();
                        mark.begin();
                        static_cast<void>(keeper.reap(16));
                        mark.end();
                      }};
    copy.declare_dead(stage.registration());
    long own_states = 0;
    for (Stepped::Seen seen; !seen.ended && bad < 5;) {
      seen = recoverer.step();
      if (!seen.changed && !seen.ended) continue;
      ++own_states;
      const Judgement twice = stage.judge(recoverer.state(), Between::nothing);
      std::string wrong = twice.wrong;
      if (!scenario.many_effects && twice.outcome != once.outcome) {
        wrong += "it came to " + twice.outcome + "\nand without the recoverer's death to " + once.outcome + "\n";
      }
      EXPECT_EQ(wrong, "") << scenario.name << " dead behind instruction " << victim.instructions() << ", its recoverer behind "
                           << recoverer.instructions();
      bad += wrong.empty() ? 0 : 1;
    }
    ++recoveries;
    states += own_states;
    g_totals.instructions += recoverer.instructions();
    g_totals.states_max = std::max(g_totals.states_max, own_states);
  };
  for (Stepped::Seen seen; !seen.ended && bad < 5;) {
    seen = victim.step();
    if (seen.changed && choice.take(seen) && ++chosen % stride() == 0) recover();
  }
  std::printf("%s: %ld recoveries, %ld states of theirs\n", scenario.name.c_str(), recoveries, states);
  ++g_totals.scenarios;
  g_totals.recoveries += recoveries;
  g_totals.states += states;
  g_totals.wrong += bad;
}

std::vector<Scenario> chosen_scenarios() {
  std::vector<Scenario> out = stepped_scenarios(false);
  const std::set<std::string> names{"new_key_with_trigger", "overwrite_with_deadline_with_trigger", "overwrite_expired_with_trigger",
                                    "overwrite_other_size", "erase_with_trigger", "get_expired_with_trigger",
                                    "touch_frozen_with_trigger", "first_overflow_bucket", "large_new", "read_event"};
  if (stride() > 1) std::erase_if(out, [&](const Scenario& s) { return !names.contains(s.name); });
  return out;
}

INSTANTIATE_TEST_SUITE_P(Operations, DoubleStep, ::testing::ValuesIn(chosen_scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d scenarios, %ld recoveries, %ld instructions and %ld states of theirs (at most %ld in one), %ld wrong\n",
                g_totals.scenarios, g_totals.recoveries, g_totals.instructions, g_totals.states, g_totals.states_max,
                g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
