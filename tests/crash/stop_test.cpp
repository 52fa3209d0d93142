// Goal: a process that is stopped between any two instructions holds nobody up, and when it goes on
// it does what it began, once. Method: a victim is run by the instruction; at each stop a copy of it
// (a fork in its name, at that very instruction) stays stopped while others write, remove, reuse and
// sweep to their end; that must be explained by some order of the calls, with the victim's effect or
// without. Then the copy goes on to its end, and the whole must be explained again.
//
// Between two accesses to the segment nothing meets anybody, so the stops are before the
// instructions that access it: every 31st by default; CACHEE_STOP_STRIDE=1 takes each of them,
// CACHEE_STOP_STRIDE=0 each instruction (long forms). Duties of a supervisor that take a hundred thousand
// accesses are stopped at a thousand of them; CACHEE_LENGTHY_STRIDE=1 takes each, in hours.
#include <algorithm>

#include "crash/clock_step.hpp"
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
      {"room_before", {erase("o0"), set("k", "other"), get("k")}},
      {"emptied", {churn("j"), empty(), drain(), withheld()}}};
  return list;
}
const std::vector<Step>& victims() {
  using namespace calls;
  static const std::vector<Step> list{set("k", "victim"), add("k", "victim"), replace("k", "victim"), compare_and_set("k", "victim"),
                                      erase("k"), get("k"), pin("k"), increment("k"), append("k", "+"), touch("k"), persist("k"),
                                      set_run("k"), visit("k", "victim")};
  return list;
}
/// Which record these meet changes little of what they do.
bool has_many_places(const Step& step) { return step.name.starts_with("set_run") || step.name.starts_with("visit"); }
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
  const long stride = setting("CACHEE_STOP_STRIDE", has_many_places(step) ? 4 * kStrideDefault : kStrideDefault);
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
  const bool long_form = setting("CACHEE_STOP_STRIDE", kStrideDefault) <= 1;
  for (const Beginning& begin : beginnings()) {
    for (const Step& step : victims()) {
      if (has_many_places(step) && begin.name != "present" && !(long_form && (begin.name == "absent" || begin.name == "expired"))) continue;
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

// ---- a supervisor that stands still in one of its duties -------------------------------------

/// Dies in the middle of a set, when it has changed the memory so many times.
void die_in_a_set(World& world, const std::string& key, int changes) {
  RawSegment raw{world.name()};
  Stepped dead{raw, [&](Mark& mark) {
                 Cache cache = world.client("dead");
                 static_cast<void>(cache.contains("nothing"));
                 mark.begin();
                 cache.set(key, "from the dead");
                 mark.end();
               }};
  for (Stepped::Seen seen; !seen.ended && changes > 0;) {
    seen = dead.step();
    changes -= seen.changed ? 1 : 0;
  }
}

std::vector<Scenario> duties() {
  using namespace std::chrono_literals;
  const auto fill_up = [](World& w) {
    for (int i = 0; i < 600; ++i) w.cache().set("fill" + std::to_string(i), std::string(1500, 'f'));
  };
  return {
      // Its first moments are duties, too: redo, reap, rebuild, scrub.
      {.name = "attach_and_reap", .events = kAllEvents,
       .prepare =
           [](World& w) {
             w.cache().set("k", "old", {.ttl = 1h});
             w.note();
             die_in_a_set(w, "k", 14);
             die_in_a_set(w, "k1", 20);
             die_in_a_set(w, "k", 24);
           },
       .duty = [](Maintainer&) {}, .attaches = true, .lengthy = true},
      {.name = "expire_due", .options = small_world(4), .events = kAllEvents,
       .prepare =
           [](World& w) {
             for (int i = 0; i < 4; ++i) w.cache().set("k" + std::to_string(i), "later", {.ttl = 1h});
             for (int i = 4; i < 8; ++i) w.cache().set("k" + std::to_string(i), "due", {.ttl = 1us});
             w.note();
             std::this_thread::sleep_for(1ms);  // the deadlines are CLOCK_MONOTONIC's
           },
       .duty = [](Maintainer& keeper) { static_cast<void>(keeper.expire_due(monotonic_ns(), 1 << 20)); }},
      {.name = "expire_due_behind_a_step", .options = small_world(4), .events = kAllEvents,
       .prepare =
           [](World& w) {
             set_before_a_step(w, 3, 2);
             w.note();
           },
       .duty = [](Maintainer& keeper) { static_cast<void>(keeper.expire_due(monotonic_ns(), 1 << 20)); }},
      {.name = "evict", .options = small_world(64), .prepare = fill_up,
       .duty = [](Maintainer& keeper) { static_cast<void>(keeper.evict(20)); }},
      {.name = "scrub", .events = kAllEvents,
       .prepare =
           [](World& w) {
             for (int i = 0; i < 40; ++i) w.cache().set("k" + std::to_string(i % 9), std::string(static_cast<std::size_t>(i * 30), 'v'));
             w.note();
           },
       .duty =
           [](Maintainer& keeper) {
             for (std::uint64_t p = 0; p < 40; ++p) keeper.acknowledge(EventSeq{p});
             const Maintainer::Delta delta{0, {.emitted = 40, .acknowledged = 40}};
             keeper.release_through(40, {&delta, 1});  // now their blocks can be free
             static_cast<void>(keeper.scrub(1 << 20));
           },
       .lengthy = true},
      {.name = "release_through", .events = kAllEvents,
       .prepare =
           [](World& w) {
             for (int i = 0; i < 30; ++i) w.cache().set("k" + std::to_string(i % 7), std::to_string(i));
             w.note();
           },
       .duty =
           [](Maintainer& keeper) { handle_first(keeper, 30); }},
      {.name = "publish_triggers", .events = kAllEvents, .prepare = [](World&) {},
       .duty =
           [](Maintainer& keeper) {
             for (int i = 0; i < 2; ++i) {
               TriggerTable table = table_of(kAllEvents);
               table.triggers[0].name = "table" + std::to_string(i);
               static_cast<void>(keeper.publish_triggers(table, kPublishTimeout));
             }
           }}};
}

/// What clients do meanwhile. Nobody else touches these keys, so each answer is known.
struct Doing {
  std::string name;
  std::function<std::string(World&)> run;
};
std::string set_and_get(World& world, const std::string& key, const std::string& value) {
  const auto set = world.cache().set(key, value);
  if (!set) return "set " + key + ": " + to_string(set.error()) + "\n";
  const auto got = world.cache().get(key);
  return got && got->bytes == value ? "" : "get " + key + " after a set\n";
}
std::string erase_and_get(World& world, const std::string& key) {
  const auto gone = world.cache().erase(key);
  if (!gone && gone.code() != Errc::not_found) return "erase " + key + ": " + to_string(gone.error()) + "\n";
  return world.cache().get(key).code() == Errc::not_found ? "" : "get " + key + " after an erase\n";
}
const std::vector<Doing>& doings() {
  static const std::vector<Doing> list{
      {"same_keys",
       [](World& w) {
         std::string wrong;
         for (const char* const key : {"k", "k1", "k4", "k7", "fill3"}) {
           wrong += set_and_get(w, key, "other");
           wrong += erase_and_get(w, key);
           wrong += set_and_get(w, key, "more");
         }
         return wrong;
       }},
      {"other_keys",
       [](World& w) {
         std::string wrong;
         for (int i = 0; i < 8; ++i) wrong += set_and_get(w, "x" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 200, 'x'));
         for (std::int64_t i = 1; i < 4; ++i) wrong += w.cache().increment("n").value_or(0) == i ? "" : "increment\n";
         return wrong;
       }},
      {"room", [](World& w) {
         std::string wrong;
         for (int i = 0; i < 6; ++i) wrong += set_and_get(w, "y" + std::to_string(i), std::string(1500, 'y'));
         return wrong;
       }}};
  return list;
}

class StopSupervisor : public ::testing::TestWithParam<Scenario> {};

TEST_P(StopSupervisor, HoldsNoClientUp) {
  constexpr double kClientsSecondsMax = 1.0;  // of CPU: what they do takes a few milliseconds
  constexpr long kStopsDefault = 4;
  constexpr long kLengthyStops = 1000;  // of a hundred thousand accesses and more: a page of the segment is like the next
  const Scenario& scenario = GetParam();
  Stage stage{scenario};
  const long accesses = stage.count_accesses();
  const long few = accesses / (scenario.lengthy ? kLengthyStops : kStopsDefault);
  const long stride = std::max(1L, setting(scenario.lengthy ? "CACHEE_LENGTHY_STRIDE" : "CACHEE_STOP_STRIDE", few));
  Stepped victim = stage.victim({});
  World& world = stage.world();
  long number = 0;
  long stops = 0;
  int bad = 0;
  for (Stepped::Seen seen; !seen.ended && bad < 3; seen = victim.step()) {
    if (!victim.about_to_access() || ++number % stride != 0) continue;
    ++stops;
    for (const Doing& doing : doings()) {
      const std::string where =
          "supervisor stopped in " + scenario.name + " behind instruction " + std::to_string(victim.instructions()) + ", clients: " + doing.name;
      const Watchdog watchdog{where};
      world.history() = stage.history();
      std::string wrong;
      {
        const auto copy = victim.clone();
        const double from = cpu_seconds();
        wrong += doing.run(world);
        if (const double took = cpu_seconds() - from; took > kClientsSecondsMax) wrong += "clients took " + std::to_string(took) + " s\n";
        wrong += findings(world.cache());
        copy->finish();
      }
      stage.declare_dead();
      world.new_keeper();
      wrong += world.verdict();
      wrong += Stage::rest(world);
      world.leave();
      world.drop_keeper();
      stage.declare_alive();
      stage.raw().load(victim.state());
      EXPECT_EQ(wrong, "") << where;
      bad += wrong.empty() ? 0 : 1;
      ++g_totals.runs;
    }
  }
  std::printf("supervisor in %s: %ld instructions, %ld accesses, %ld stops\n", scenario.name.c_str(), victim.instructions(), accesses, stops);
  EXPECT_GT(stops, 0);
  ++g_totals.situations;
  g_totals.instructions += victim.instructions();
  g_totals.stops += stops;
  g_totals.wrong += bad;
}

/// The lengthy ones in the long form only.
std::vector<Scenario> chosen_duties() {
  std::vector<Scenario> list = duties();
  if (setting("CACHEE_STOP_STRIDE", kStrideDefault) > 1) std::erase_if(list, [](const Scenario& s) { return s.lengthy; });
  return list;
}

INSTANTIATE_TEST_SUITE_P(Duties, StopSupervisor, ::testing::ValuesIn(chosen_duties()), [](const auto& duty) { return duty.param.name; });

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
