// Goal: the same promises as exhaustive_test, for three parties with longer scripts. Method: random
// scripts on two keys of one bucket, each run under random priorities with two to four changes
// (probabilistic concurrency testing, depth 3 to 5), every second run with a death somewhere and
// its recovery as a fourth party.
//
// CACHEE_SIM_SCRIPTS (150) scripts, CACHEE_SIM_RUNS (40) schedules of each. CACHEE_TEST_SEED repeats all
// of it; a failure prints its own seed, with which the first script is the one that failed, and its
// schedule: with CACHEE_SIM_SCRIPTS=1 and CACHEE_SIM_SCHEDULE='...' it alone is repeated.
#include <gtest/gtest.h>

#include "sim/scenarios.hpp"

namespace cachee::sim {
namespace {

Scenario random_scenario(std::uint64_t seed) {
  using namespace steps;
  using D = Step::Duty;
  std::mt19937_64 random{seed};
  const auto up_to = [&](int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n + 1)); };
  int number = 0;
  Scenario s;
  s.name = "script";
  s.watched = up_to(3) != 0;
  s.evicts = up_to(3) == 0;
  const auto value = [&] {
    return "v" + std::to_string(++number) +
           std::string(static_cast<std::size_t>(up_to(2) * 17), static_cast<char>('a' + up_to(25)));
  };
  const auto step = [&]() -> Step {
    Step chosen;
    switch (up_to(s.evicts ? 20 : 19)) {
      case 0:
      case 1:
      case 2:
        chosen = set(value());
        break;
      case 3:
        chosen = brief(value());
        break;
      case 4:
      case 5:
      case 6:
        chosen = get();
        break;
      case 7:
      case 8:
      case 9:
        chosen = erase();
        break;
      case 10:
        chosen = call(Kind::add, value());
        break;
      case 11:
        chosen = call(Kind::replace, value());
        break;
      case 12:
        chosen = call(Kind::append, value());
        break;
      case 13:
        chosen = touch();
        break;
      case 14:
        chosen = call(Kind::persist);
        break;
      case 15:
        chosen = pin();
        break;
      case 16:
        return duty(D::consume);
      case 17:
        return duty(up_to(1) == 0 ? D::reclaim : D::scrub);
      case 18:
        return duty(D::tend);
      case 19:
        return duty(up_to(2) == 0 ? D::pass_time : D::drain_page);
      default:
        return duty(D::evict);
    }
    return up_to(3) == 0 ? of("j", chosen) : chosen;
  };
  for (int i = up_to(2); i > 0; --i) s.initial.push_back(step());
  s.parties.resize(3);
  for (Script& script : s.parties) {
    for (int i = 1 + up_to(2); i > 0; --i) script.push_back(step());
    // The consumer is one party at a time, as the supervisor is.
    if (&script != s.parties.data()) std::erase_if(script, [](const Step& t) { return t.duty == D::consume; });
  }
  return s;
}

std::string describe_scripts(const Scenario& s) {
  std::string text;
  const auto one = [&](const Script& script) {
    for (const Step& t : script) {
      text += " " + (t.duty == Step::Duty::none || t.duty == Step::Duty::pin
                         ? t.name + " " + t.key
                         : "duty " + std::to_string(static_cast<int>(t.duty)));
    }
    text += "\n";
  };
  text += "initially:";
  one(s.initial);
  for (const Script& script : s.parties) {
    text += "party:";
    one(script);
  }
  return text;
}

TEST(RandomSchedules, OfThreePartiesKeepEveryPromise) {
  const std::uint64_t seed = test::print_seed("RandomSchedules");
  const long scripts = test::number_setting("CACHEE_SIM_SCRIPTS", 150);
  const long runs = test::number_setting("CACHEE_SIM_RUNS", 40);
  std::uint64_t schedules = 0, steps = 0;
  int bad = 0;
  const auto begun = std::clock();
  for (long i = 0; i < scripts && bad < 3; ++i) {
    const std::uint64_t own = seed + static_cast<std::uint64_t>(i);
    const Scenario scenario = random_scenario(own);
    Explorer explorer{scenario};
    const char* schedule = std::getenv("CACHEE_SIM_SCHEDULE");
    const Explored e =
        schedule != nullptr ? explorer.replay(schedule) : explorer.random(own, static_cast<std::uint64_t>(runs));
    schedules += e.schedules;
    steps += e.steps;
    EXPECT_EQ(e.wrong, "") << "CACHEE_TEST_SEED=" << own << "\n" << describe_scripts(scenario);
    bad += e.wrong.empty() ? 0 : 1;
  }
  const double seconds = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
  std::printf("%llu schedules, %llu steps each, %.0f schedules/s\n", static_cast<unsigned long long>(schedules),
              static_cast<unsigned long long>(steps / schedules), static_cast<double>(schedules) / seconds);
}

}  // namespace
}  // namespace cachee::sim
