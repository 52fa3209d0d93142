// Goal: a process that is stopped between any two instructions holds nobody up, and when it goes on
// it does what it began, once. Method: a victim is run by the instruction; at each stop a copy of it
// (a fork in its name, at that very instruction) stays stopped while others write, remove, reuse and
// sweep to their end; that must be explained by some order of the calls, with the victim's effect or
// without. Then the copy goes on to its end, and the whole must be explained again.
//
// Between two accesses to the segment nothing meets anybody, so the stops are before the
// instructions that access it: every 31st by default; CACHEE_STOP_STRIDE=1 takes each of them,
// CACHEE_STOP_STRIDE=0 each instruction (long forms).
#include <algorithm>

#include "crash/ground.hpp"

namespace cachee::test {
namespace {

constexpr long kStrideDefault = 31;

const std::vector<Others>& all_others() {
  using namespace calls;
  static const std::vector<Others> list{
      {"set", {set("k", "other")}},
      {"erase", {erase("k")}},
      {"set_erase_set", {set("k", "one"), erase("k"), set("k", "two")}},
      {"sweep", {help(), expire(), scrub(), get("k")}},
      // The block of k is free by the set of p, and the next one to be used.
      {"reuse", {churn("j"), erase("k"), drain(), set("p", "p"), set("k", "other"), churn("j"), get("k")}},
      {"reuse_wide", {churn("j", 300), erase("k"), drain(), set("p", "p"), set("k", std::string(300, 'w')), get("k")}},
      {"overwrite", {churn("k"), drain(), churn("k"), get("k")}},
      {"neighbour", {set("p", "other"), add("k", "added"), increment("q"), touch("k"), erase("p")}},
      {"room_before", {erase("o0"), set("k", "other"), get("k")}}};
  return list;
}
const std::vector<Step>& victims() {
  using namespace calls;
  static const std::vector<Step> list{set("k", "victim"), add("k", "victim"), erase("k"), get("k"),
                                      pin("k"), increment("k"), append("k", "+"), touch("k")};
  return list;
}
std::string name_of(const Beginning& begin, const Step& step, EventMask events) {
  return begin.name + "_" + step.name.substr(0, step.name.find(' ')) + (events == 0 ? "_without_trigger" : "");
}

struct Totals {
  int situations = 0;
  long instructions = 0, stops = 0, runs = 0, wrong = 0;
};
Totals g_totals;
using Situation = std::tuple<const Beginning*, const Step*, EventMask>;

class StopTest : public ::testing::TestWithParam<Situation> {};

TEST_P(StopTest, AStoppedProcessHoldsNobodyUp) {
  const Beginning& begin = *std::get<0>(GetParam());
  const Step& step = *std::get<1>(GetParam());
  const EventMask events = std::get<2>(GetParam());
  const std::string name = name_of(begin, step, events);
  const long stride = setting("CACHEE_STOP_STRIDE", kStrideDefault);
  long number = static_cast<long>(std::hash<std::string>{}(name) % kStrideDefault);
  Ground ground{begin, step, events};
  Stepped& victim = ground.victim();
  long stops = 0;
  long runs = 0;
  int bad = 0;
  for (Stepped::Seen seen; !seen.ended && bad < 3;) {
    if (stride == 0 || (victim.about_to_access() && ++number % stride == 0)) {
      ++stops;
      for (const Others& others : all_others()) {
        const std::string where = name + " stopped behind instruction " + std::to_string(victim.instructions()) + ", others: " + others.name;
        const Watchdog watchdog{where};
        const std::string wrong = ground.trial(others.script);
        EXPECT_EQ(wrong, "") << where;
        ++runs;
        bad += wrong.empty() ? 0 : 1;
      }
    }
    seen = victim.step();
  }
  std::printf("%s: %ld instructions, %ld stops, %ld runs\n", name.c_str(), victim.instructions(), stops, runs);
  ++g_totals.situations;
  g_totals.instructions += victim.instructions();
  g_totals.stops += stops;
  g_totals.runs += runs;
  g_totals.wrong += bad;
}

std::vector<Situation> situations() {
  std::vector<Situation> list;
  for (const Beginning& begin : beginnings()) {
    for (const Step& step : victims()) {
      for (const EventMask events : {kAllEvents, EventMask{0}}) list.emplace_back(&begin, &step, events);
    }
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Situations, StopTest, ::testing::ValuesIn(situations()), [](const auto& situation) {
  return name_of(*std::get<0>(situation.param), *std::get<1>(situation.param), std::get<2>(situation.param));
});

// A reader stands still, and so does the writer that reuses the block it reads: what the reader
// returns then must have been there, whether the writer ever goes on or not.
TEST(StopPairs, AReaderNeverSeesWhatWasNotThereYet) {
  using namespace calls;
  const long stride = std::max(1L, setting("CACHEE_STOP_STRIDE", kStrideDefault));
  const Beginning& begin = *std::find_if(beginnings().begin(), beginnings().end(), [](const Beginning& b) { return b.name == "present"; });
  const Step before = churn("j");
  const Step removal = erase("k");
  const Step write = set("k", "not yet");
  constexpr long kReaderStride = 4;
  long places = 0;
  long pairs = 0;
  int bad = 0;
  for (const Step& step : {get("k"), pin("k")}) {
    Ground ground{begin, step, 0};  // nothing waits for events: blocks are free at once
    Stepped& reader = ground.victim();
    for (Stepped::Seen seen; !seen.ended; seen = reader.step()) {
      if (!reader.about_to_access() || (stride > 1 && ++places % kReaderStride != 0)) continue;
      const RawSegment::Image image = reader.state();
      {
        Stepped writer{ground.raw(), [&](Mark& mark) {
                         Cache cache = ground.world().client("writer");
                         before.run(ground.world(), cache);
                         removal.run(ground.world(), cache);  // its block is the next one to be used
                         mark.begin();
                         mark.end(write.run(ground.world(), cache));
                       }};
        for (Stepped::Seen at; !at.ended && bad < 3; at = writer.step()) {
          if (!writer.about_to_access() || ++pairs % stride != 0) continue;
          const Watchdog watchdog{"reader and writer"};
          Trial trial{begin, false};
          const std::size_t reading = trial.begin(step);
          trial.end(trial.begin(before), "");
          trial.end(trial.begin(removal), "erased 7");
          static_cast<void>(trial.begin(write));
          {
            const auto copy = reader.clone();
            copy->finish();
            trial.end(reading, copy->got());
          }
          // The writer stands still: what was there for the reader is there now.
          std::string got;
          if (const auto now = ground.world().cache().get("k")) got = now->bytes;
          std::string wrong;
          if (trial.got(reading) == "not yet" && got != "not yet") wrong = "it returned what nobody has written yet\n";
          ground.world().new_keeper();
          static_cast<void>(ground.world().keeper().help_stalled(monotonic_ns()));
          static_cast<void>(ground.world().keeper().help_stalled(monotonic_ns() + 1'000'000'000));
          wrong += trial.unexplained(ground.world());
          EXPECT_EQ(wrong, "") << step.name << " stopped behind " << reader.instructions() << ", the writer behind "
                               << writer.instructions();
          bad += wrong.empty() ? 0 : 1;
          ground.world().leave();
          ground.world().drop_keeper();
          ground.raw().load(writer.state());
        }
      }
      ground.raw().load(image);
    }
  }
  std::printf("readers and writers: %ld pairs of places\n", pairs);
}

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d situations, %ld instructions, %ld stops, %ld runs, %ld wrong\n", g_totals.situations,
                g_totals.instructions, g_totals.stops, g_totals.runs, g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
