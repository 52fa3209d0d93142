// Goal: where memory, places of a chain or places in the ring are scarce, a stopped process keeps back
// what it holds and no more: others find room in bounded time, and no event is lost over it. Method:
// copies of a victim stand still inside the scenarios of this kind while others write small and
// large values, evict and sweep; then they go on. The trigger's history judges.
//
// CACHEE_SCARCE_STRIDE=n stops before every n-th access (default: about 15 stops in each scenario).
#include <algorithm>

#include "crash/ground.hpp"

namespace cachee::test {
namespace {

constexpr double kOthersSecondsMax = 3.0;  // of CPU; a few milliseconds each when nothing is wrong
constexpr int kRoundsMax = 20;

struct Totals {
  int scenarios = 0;
  long stops = 0, runs = 0, wrong = 0;
};
Totals g_totals;

/// Writes; room may have to come from records whose events were not released yet.
std::string written(World& world, const std::string& key, std::size_t value_bytes) {
  auto set = world.cache().set(key, std::string(value_bytes, 'x'));
  for (int rounds = 0; !set && (set.code() == Errc::no_space || set.code() == Errc::full) && rounds < kRoundsMax; ++rounds) {
    world.drain();
    set = world.cache().set(key, std::string(value_bytes, 'x'));
  }
  return set ? "" : "set " + key + ": " + to_string(set.error()) + "\n";
}

struct Doing {
  std::string name;
  std::function<std::string(World&)> run;
};
std::vector<Doing> doings(const Scenario& scenario) {
  const bool evicts = scenario.options.eviction != EvictionPolicy::none;
  std::vector<Doing> list{{"sweep",
                            [](World& w) {
                              static_cast<void>(w.keeper().evict(20));
                              static_cast<void>(w.keeper().scrub(1 << 20));
                              static_cast<void>(w.keeper().reap(16));
                              return std::string{};
                            }},
                           {"small", [](World& w) {
                              std::string wrong;
                              for (int i = 0; i < 10; ++i) wrong += written(w, "k", 20 + static_cast<std::size_t>(i));
                              return wrong;
                            }}};
  if (!evicts) return list;
  list.push_back({"same_class", [](World& w) {
                    std::string wrong;
                    for (int i = 0; i < 10; ++i) wrong += written(w, "x" + std::to_string(i), 1500);
                    return wrong;
                  }});
  list.push_back({"large", [](World& w) { return written(w, "x", 90000) + written(w, "y", 60000); }});
  return list;
}

class StopScarce : public ::testing::TestWithParam<Scenario> {};

TEST_P(StopScarce, AStoppedProcessKeepsBackWhatItHolds) {
  const Scenario& scenario = GetParam();
  Stage stage{scenario};
  const long accesses = stage.count_accesses();
  const long stride = std::max(1L, setting("CACHEE_SCARCE_STRIDE", accesses / 15));
  const std::vector<Doing> all = doings(scenario);
  Stepped victim = stage.victim({});
  World& world = stage.world();
  long number = 0;
  long stops = 0;
  int bad = 0;
  for (Stepped::Seen seen; !seen.ended && bad < 3; seen = victim.step()) {
    if (!victim.about_to_access() || ++number % stride != 0) continue;
    ++stops;
    for (const Doing& script : all) {
      const std::string where = scenario.name + " stopped behind instruction " + std::to_string(victim.instructions()) + ", others: " + script.name;
      const Watchdog watchdog{where};
      std::string wrong;
      world.history() = stage.history();
      world.new_keeper();
      {
        const auto copy = victim.clone();
        const double from = cpu_seconds();
        wrong += script.run(world);
        static_cast<void>(world.keeper().help_stalled(monotonic_ns()));
        static_cast<void>(world.keeper().help_stalled(monotonic_ns() + 1'000'000'000));
        const double took = cpu_seconds() - from;
        if (took > kOthersSecondsMax) wrong += "others took " + std::to_string(took) + " s\n";
        wrong += findings(world.keeper().cache());
        copy->finish();
      }
      wrong += world.damage();
      world.drain();
      static_cast<void>(world.keeper().expire_due(monotonic_ns(), 1 << 20));
      world.drain();
      wrong += world.disagreement();
      stage.declare_dead();
      wrong += world.reap();
      wrong += Stage::rest(world);
      stage.declare_alive();
      world.leave();
      world.drop_keeper();
      stage.raw().load(victim.state());
      EXPECT_EQ(wrong, "") << where;
      bad += wrong.empty() ? 0 : 1;
      ++g_totals.runs;
    }
  }
  std::printf("%s: %ld accesses, %ld stops\n", scenario.name.c_str(), accesses, stops);
  ++g_totals.scenarios;
  g_totals.stops += stops;
  g_totals.wrong += bad;
}

std::vector<Scenario> scarce_scenarios() {
  std::vector<Scenario> out;
  const std::set<std::string> names{"evicts_of_its_class", "evicts_of_its_class_with_trigger", "longest_chain_evicts_with_trigger",
                                    "large_overwrite_with_trigger", "clear_with_trigger", "set_into_the_last_place",
                                    "expires_into_a_full_ring"};
  const std::set<std::string> lengthy{"large_without_room", "large_without_room_with_trigger", "empties_a_page_for_another_class",
                                      "no_room_and_no_eviction"};
  const bool all = setting("CACHEE_SCARCE_STRIDE", 0) != 0;
  for (Scenario& s : client_scenarios()) {
    if (names.contains(s.name) || (all && lengthy.contains(s.name))) out.push_back(std::move(s));
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Operations, StopScarce, ::testing::ValuesIn(scarce_scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d scenarios, %ld stops, %ld runs, %ld wrong\n", g_totals.scenarios, g_totals.stops, g_totals.runs,
                g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
