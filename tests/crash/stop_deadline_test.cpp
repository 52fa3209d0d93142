// Goal: a deadline that passes while a process stands still is one moment for everybody: whoever saw
// the key gone is never contradicted by what the process does when it goes on [KS-5]. Method: as in
// stop_test, but all copies of the victim are made before the deadline, one at each place, and go on
// behind it.
//
// CACHEE_STOP_STRIDE=1 takes each access (long form); default: every 11th.
#include <algorithm>
#include <thread>

#include "crash/ground.hpp"

namespace cachee::test {
namespace {

long stride() { return std::max(1L, setting("CACHEE_STOP_STRIDE", 11)); }
/// The victim gets through within, with all its copies.
std::chrono::milliseconds ttl() { return std::chrono::milliseconds{stride() == 1 ? 8000 : 1500}; }

std::vector<Others> all_others() {
  using namespace calls;
  return {{"sweep", {expire(), get("k")}},
          {"touch", {touch("k"), get("k")}},
          {"set", {get("k"), set("k", "other")}},
          {"erase", {erase("k"), add("k", "other")}},
          {"increment", {increment("k"), get("k")}}};
}

class StopDeadline : public ::testing::TestWithParam<Step> {};

TEST_P(StopDeadline, PassesForEverybodyAtOnce) {
  const Step& step = GetParam();
  const Step pass = calls::pass();
  const Beginning begin{"brief", [](Cache& c) { static_cast<void>(c.set("k", "7", {.ttl = ttl()})); },
                        [](Model& m) {
                          m.write("k", "7");
                          m.brief.insert("k");
                        }};
  struct Stop {
    Ground::Standing copy;
    std::shared_ptr<const RawSegment::Image> state;
    long instruction;
    const Others* others;
  };
  const std::vector<Others> others = all_others();
  std::vector<Stop> stops;
  const TimeNs made = monotonic_ns();
  Ground ground{begin, step, kAllEvents};
  Stepped& victim = ground.victim();
  const TimeNs deadline = made + std::chrono::nanoseconds{ttl()}.count();
  long number = static_cast<long>(step.name.size());
  for (Stepped::Seen seen; !seen.ended; seen = victim.step()) {
    if (!victim.about_to_access() || ++number % stride() != 0) continue;
    if (monotonic_ns() > deadline) break;  // a busy machine
    const auto state = std::make_shared<const RawSegment::Image>(victim.state());
    for (const Others& other : others) {
      stops.push_back({ground.copy(), state, victim.instructions(), &other});
    }
  }
  // `made` was before the deadline was set.
  while (monotonic_ns() < deadline + 100'000'000) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  int bad = 0;
  for (Stop& stop : stops) {
    if (bad >= 3) break;
    const std::string where = step.name + " stopped behind instruction " + std::to_string(stop.instruction) + ", others: " + stop.others->name;
    const Watchdog watchdog{where};
    std::vector<Ground::Standing> alone;
    alone.push_back(std::move(stop.copy));
    const std::string wrong = ground.trial(stop.others->script, std::move(alone), *stop.state, &pass);
    EXPECT_EQ(wrong, "") << where;
    bad += wrong.empty() ? 0 : 1;
  }
  EXPECT_FALSE(stops.empty());
  std::printf("%s: %zu runs\n", step.name.c_str(), stops.size());
}

INSTANTIATE_TEST_SUITE_P(Victims, StopDeadline,
                         ::testing::Values(calls::touch("k"), calls::set("k", "victim"), calls::erase("k"), calls::increment("k"),
                                           calls::get("k")),
                         [](const auto& step) { return step.param.name.substr(0, step.param.name.find(' ')); });

}  // namespace
}  // namespace cachee::test
