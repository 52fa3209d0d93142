// Goal: any number of processes may stand still at once. Method: as in stop_test, with two: at stops of
// the first, a second one comes and is run by the instruction as well; at each of its stops copies of
// both stand still while others go on. Then both go on, the second one first.
//
// CACHEE_TWO_STRIDE=n stops each before every n-th access (default: 61 and 29; long form: 7).
#include <algorithm>

#include "crash/ground.hpp"

namespace cachee::test {
namespace {

struct Totals {
  int situations = 0;
  long runs = 0, wrong = 0;
};
Totals g_totals;

struct Pair {
  Step first;
  Step second;
};
std::vector<Pair> pairs() {
  using namespace calls;
  return {{set("k", "first"), set("k", "second")},
          {set("k", "first"), erase("k")},
          {erase("k"), increment("k")},
          {touch("k"), set("k", "second")},
          {get("k"), append("k", "+")}};
}
std::vector<Others> all_others() {
  using namespace calls;
  return {{"set_erase_set", {set("k", "one"), erase("k"), set("k", "two")}},
          {"reuse", {churn("j"), erase("k"), drain(), set("p", "p"), set("k", "other"), get("k")}},
          {"sweep", {help(), expire(), scrub(), get("k")}}};
}

using Situation = std::tuple<const Beginning*, Pair>;
std::string name_of(const Situation& situation) {
  const auto word = [](const Step& step) { return step.name.substr(0, step.name.find(' ')); };
  const Pair& pair = std::get<1>(situation);
  return std::get<0>(situation)->name + "_" + word(pair.first) + "_" + word(pair.second);
}

class StopTwo : public ::testing::TestWithParam<Situation> {};

TEST_P(StopTwo, HoldNobodyUp) {
  const Beginning& begin = *std::get<0>(GetParam());
  const Pair& pair = std::get<1>(GetParam());
  const long first_stride = std::max(1L, setting("CACHEE_TWO_STRIDE", 61));
  const long second_stride = std::max(1L, setting("CACHEE_TWO_STRIDE", 29));
  const std::string name = name_of(GetParam());
  const std::vector<Others> others = all_others();
  Ground ground{begin, pair.first, kAllEvents};
  Stepped& first = ground.victim();
  long number = static_cast<long>(std::hash<std::string>{}(name) % 61);
  long second_number = 0;
  long runs = 0;
  int bad = 0;
  for (Stepped::Seen seen; !seen.ended && bad < 3; seen = first.step()) {
    if (!first.about_to_access() || ++number % first_stride != 0) continue;
    {
      std::uint64_t registration = 0;
      const auto second = ground.another(pair.second, registration);
      for (Stepped::Seen at; !at.ended && bad < 3; at = second->step()) {
        if (!second->about_to_access() || ++second_number % second_stride != 0) continue;
        for (const Others& other : others) {
          const std::string where = name + " stopped behind instructions " + std::to_string(first.instructions()) + " and " +
                                    std::to_string(second->instructions()) + ", others: " + other.name;
          const Watchdog watchdog{where};
          std::vector<Ground::Standing> both;
          both.push_back({second->clone(), pair.second, registration});
          both.push_back(ground.copy());
          const std::string wrong = ground.trial(other.script, std::move(both), second->state());
          EXPECT_EQ(wrong, "") << where;
          bad += wrong.empty() ? 0 : 1;
          ++runs;
        }
      }
    }
    ground.raw().load(first.state());
  }
  std::printf("%s: %ld runs\n", name.c_str(), runs);
  ++g_totals.situations;
  g_totals.runs += runs;
  g_totals.wrong += bad;
}

std::vector<Situation> situations() {
  std::vector<Situation> list;
  for (const Beginning& begin : beginnings()) {
    if (begin.name != "absent" && begin.name != "present" && begin.name != "expired" && begin.name != "sixth") continue;
    for (const Pair& pair : pairs()) list.emplace_back(&begin, pair);
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Situations, StopTwo, ::testing::ValuesIn(situations()),
                         [](const auto& situation) { return name_of(situation.param); });

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d situations, %ld runs, %ld wrong\n", g_totals.situations, g_totals.runs, g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
