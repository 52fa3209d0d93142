// Goal: a client killed anywhere in any operation has done it or not; no event is lost or made up;
// what it held comes back. Method: a child runs one operation and kills itself at each crash point
// it passes (every pass up to a bound) and before every n-th access to a shared word; then its slot
// is reaped, fsck must be clean, the events must add up to the state, the state must be the one
// before or the one after, and an emptied cache must have every block free.
//
// CACHEE_KILL_STRIDE=1 kills before every access (long form); default 23.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>

#include "crash/kill.hpp"
#include "crash/scenarios.hpp"

namespace cachee::test {
namespace {

constexpr unsigned kPassesMax = 3;  // of one crash point in one operation

std::set<std::string> g_points_hit;

class KillPoints : public ::testing::TestWithParam<Scenario> {
 protected:
  static ChildEnd play(World& world, const Scenario& scenario, const KillPlan& plan, Passed& passed) {
    scenario.prepare(world);
    return run_child(plan, passed, [&] {
      if (scenario.attaches) arm();
      Cache cache = world.client("victim");
      if (!scenario.attaches) static_cast<void>(cache.contains("nothing"));  // takes the client slot
      arm();
      scenario.act(cache);
      if (!scenario.attaches) disarm();
    });
  }

  /// The world behind an operation that was killed by `plan`, judged. Empty: sound.
  std::string judge(const KillPlan& plan, ChildEnd expected) {
    const Scenario& scenario = GetParam();
    World world{scenario.options, scenario.events};
    Passed passed;
    const ChildEnd end = play(world, scenario, plan, passed);
    std::string text;
    // Which records are evicted is chance, and so is whether the coarse clock ticked between two versions (then their
    // floor is not looked at): an operation may pass fewer places this time than when they were counted.
    const bool shorter = end == ChildEnd::finished && (scenario.many_effects || passed.accesses < plan.access);
    if (end != expected && !shorter) text += "the child ended in another way\n";
    text += world.verdict();
    // With several effects the trigger's history is the judge.
    if (const State state = world.state(); !scenario.many_effects && state != before_ && state != after_) {
      text += "neither before nor after: " + World::describe(state) + "\n";
    }
    text += world.stuck();
    text += world.damage();
    text += world.history().complaints();
    text += world.leaks();
    return text;
  }

  State before_;
  State after_;
};

TEST_P(KillPoints, ADeadClientLeavesBeforeOrAfter) {
  const Scenario& scenario = GetParam();
  Passed passed;
  {
    World world{scenario.options, scenario.events};
    scenario.prepare(world);
    before_ = world.state();
  }
  {
    World world{scenario.options, scenario.events};
    ASSERT_EQ(play(world, scenario, {}, passed), ChildEnd::finished);
    EXPECT_EQ(world.verdict(), "");
    after_ = world.state();
    EXPECT_EQ(world.leaks(), "");
  }
  int kills = 0;
  int bad = 0;
  const auto check = [&](const KillPlan& plan, const std::string& where) {
    if (bad >= 5) return;
    ++kills;
    const std::string text = judge(plan, ChildEnd::killed);
    EXPECT_EQ(text, "") << scenario.name << " killed at " << where;
    bad += text.empty() ? 0 : 1;
  };
  for (unsigned i = 0; i < passed.names; ++i) {
    const auto& entry = passed.entries[i];
    g_points_hit.insert(entry.name);
    for (unsigned nth = 1; nth <= std::min(entry.count, kPassesMax); ++nth) {
      check({.point = entry.name, .nth = static_cast<long>(nth)}, std::string{entry.name} + ":" + std::to_string(nth));
    }
  }
  // Long operations repeat themselves: at most so many kills each.
  const long stride = std::max(setting("CACHEE_KILL_STRIDE", 23), passed.accesses / setting("CACHEE_KILL_ACCESSES", 25) + 1);
  for (long access = 1 + static_cast<long>(getpid()) % stride; access <= passed.accesses; access += stride) {
    check({.access = access}, "access " + std::to_string(access) + " of " + std::to_string(passed.accesses));
  }
  std::printf("%s: %ld accesses, %u crash points, %d kills\n", scenario.name.c_str(), passed.accesses, passed.names, kills);
}

INSTANTIATE_TEST_SUITE_P(Operations, KillPoints, ::testing::ValuesIn(client_scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

}  // namespace
}  // namespace cachee::test
