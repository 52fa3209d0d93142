// Goal: a client that dies between any two instructions of an operation has done it or not, with its
// event or without, and nothing of it stays behind. Method: a real child is run by the instruction
// (ptrace); whenever the segment's memory has changed, the memory is copied into another segment, in
// which the child is dead: others go on there, a supervisor recovers it, and the world is judged. A
// dead process's registers matter to nobody, so the states of the memory are all that there is to a
// death. A child that is really killed at one of the states must come to the same as its copy.
//
// CACHEE_STEP_STRIDE=1 judges every state with everything that may happen in between (long form);
// by default every state of an operation, each with one of them, and long fills now and then.
#include <algorithm>

#include "crash/stage.hpp"

namespace cachee::test {
namespace {

struct Totals {
  int scenarios = 0;
  long instructions = 0, states = 0, judged = 0, deaths = 0, wrong = 0;
};
Totals g_totals;

bool long_form() { return setting("CACHEE_STEP_STRIDE", 0) == 1; }

constexpr long kDeathInstructionsMax = 10'000;  // a real death costs a run of its own

class Snapshots : public ::testing::TestWithParam<Scenario> {};

TEST_P(Snapshots, EveryStateIsBeforeOrAfter) {
  const Scenario& scenario = GetParam();
  Stage stage{scenario};
  long states = 0;
  long judged = 0;
  int bad = 0;
  std::vector<std::string> outcomes;
  const auto judge = [&](const RawSegment::Image& image, Between between, long instruction) {
    ++judged;
    Judgement is = stage.judge(image, between);
    if (between == Between::nothing && (outcomes.empty() || outcomes.back() != is.outcome)) outcomes.push_back(is.outcome);
    EXPECT_EQ(is.wrong, "") << scenario.name << " dead behind instruction " << instruction << ", then " << to_string(between);
    bad += is.wrong.empty() ? 0 : 1;
  };
  long instructions = 0;
  {
    Stepped victim = stage.victim({});
    Choice choice{long_form() && !scenario.copies_much};
    judge(victim.state(), Between::nothing, 0);
    int turn = 0;
    for (Stepped::Seen seen; !seen.ended && bad < 5;) {
      seen = victim.step();
      if (!seen.changed) continue;
      ++states;
      if (!choice.take(seen)) continue;
      judge(victim.state(), Between::nothing, victim.instructions());
      for (int b = 1; b < kBetweenCount; ++b) {
        if (long_form() || b == 1 + turn % (kBetweenCount - 1)) judge(victim.state(), static_cast<Between>(b), victim.instructions());
      }
      ++turn;
    }
    judge(victim.state(), Between::nothing, victim.instructions());
    instructions = victim.instructions();
  }
  // Before, then after; with several effects the trigger's history is the judge.
  if (!scenario.many_effects) {
    EXPECT_LE(outcomes.size(), 2u) << scenario.name << ": " << ::testing::PrintToString(outcomes);
  }

  // Real deaths, with the kernel's release of the lock.
  const long deaths = long_form() ? 16 : instructions <= kDeathInstructionsMax ? 1 : 0;
  for (long d = 1; d <= deaths && bad < 5; ++d) {
    const long last = std::max(1L, states * d / (deaths + 1) + (deaths == 1 ? static_cast<long>(scenario.name.size()) % 5 : 0));
    Stepped victim = stage.victim({});
    long passed = 0;
    for (Stepped::Seen seen; !seen.ended && passed < last;) {
      seen = victim.step();
      passed += seen.changed ? 1 : 0;
    }
    Judgement copy = stage.judge(victim.state(), Between::nothing);
    victim.kill_now();
    stage.world().history() = stage.history();
    stage.world().new_keeper();
    std::string outcome;
    std::string wrong = stage.finish(stage.world(), outcome);
    wrong += Stage::rest(stage.world());
    EXPECT_EQ(wrong, "") << scenario.name << " killed in state " << last;
    if (!scenario.many_effects) {
      EXPECT_EQ(outcome, copy.outcome) << scenario.name << " killed in state " << last;
    }
    bad += wrong.empty() ? 0 : 1;
    stage.world().leave();
    stage.world().drop_keeper();
    ++g_totals.deaths;
  }
  std::printf("%s: %ld instructions, %ld states, %ld judged\n", scenario.name.c_str(), instructions, states, judged);
  ++g_totals.scenarios;
  g_totals.instructions += instructions;
  g_totals.states += states;
  g_totals.judged += judged;
  g_totals.wrong += bad;
}

INSTANTIATE_TEST_SUITE_P(Operations, Snapshots, ::testing::ValuesIn(stepped_scenarios(long_form())),
                         [](const auto& scenario) { return scenario.param.name; });

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d scenarios, %ld instructions, %ld states, %ld judged, %ld deaths, %ld wrong\n", g_totals.scenarios,
                g_totals.instructions, g_totals.states, g_totals.judged, g_totals.deaths, g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
