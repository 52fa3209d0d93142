// Goal: whoever cleans up may die as well, at any crash point, and so may its successor's
// predecessor: the next one finishes. Method: a client is killed in an operation, then a supervisor
// that attaches and recovers it is killed at each crash point it passes, then this process takes
// over and judges the world as kill_points_test does. The same for the duties of a supervisor:
// sweeps, release of events, publication of triggers.
//
// CACHEE_DOUBLE_KILL_STRIDE=1 combines every point of the victim with every one of the recoverer
// (long form); default 7.
#include <algorithm>

#include "crash/clock_step.hpp"
#include "crash/kill.hpp"
#include "crash/scenarios.hpp"

namespace cachee::test {
namespace {

std::vector<KillPlan> plans_of(const Passed& passed, unsigned passes_max) {
  std::vector<KillPlan> plans;
  for (unsigned i = 0; i < passed.names; ++i) {
    for (unsigned nth = 1; nth <= std::min(passed.entries[i].count, passes_max); ++nth) {
      plans.push_back({.point = passed.entries[i].name, .nth = static_cast<long>(nth)});
    }
  }
  return plans;
}

std::string text_of(const KillPlan& plan) { return plan.point + ":" + std::to_string(plan.nth); }

/// A supervisor's first moments: redo, reap, rebuild, scrub, then a round of duties.
void supervise(const World& world) {
  arm();
  Maintainer keeper = world.make_keeper();
  static_cast<void>(keeper.expire_due(monotonic_ns(), 1 << 20));
  static_cast<void>(keeper.reap(16));
  static_cast<void>(keeper.scrub(1 << 20));
  disarm();
}

class DoubleKill : public ::testing::TestWithParam<Scenario> {
 protected:
  static ChildEnd kill_client(World& world, const Scenario& scenario, const KillPlan& plan, Passed& passed) {
    scenario.prepare(world);
    return run_child(plan, passed, [&] {
      Cache cache = world.client("victim");
      static_cast<void>(cache.contains("nothing"));
      arm();
      scenario.act(cache);
      disarm();
    });
  }
};

TEST_P(DoubleKill, ARecovererMayDieToo) {
  const Scenario& scenario = GetParam();
  Passed passed;
  {
    World world{scenario.options, scenario.events};
    ASSERT_EQ(kill_client(world, scenario, {}, passed), ChildEnd::finished);
  }
  const long stride = setting("CACHEE_DOUBLE_KILL_STRIDE", 7);
  long number = 0;
  int kills = 0;
  int bad = 0;
  for (const KillPlan& first : plans_of(passed, 2)) {
    Passed recoverer;
    {
      World world{scenario.options, scenario.events};
      Passed again;
      kill_client(world, scenario, first, again);
      world.drop_keeper();
      run_child({}, recoverer, [&] { supervise(world); });
      world.new_keeper();
      EXPECT_EQ(world.verdict(), "") << scenario.name << " killed at " << text_of(first);
    }
    for (const KillPlan& second : plans_of(recoverer, 3)) {
      if (++number % stride != 0 || bad >= 5) continue;
      World world{scenario.options, scenario.events};
      Passed again;
      kill_client(world, scenario, first, again);
      world.drop_keeper();
      run_child(second, again, [&] { supervise(world); });
      world.new_keeper();
      ++kills;
      std::string text = world.verdict();
      text += world.leaks();
      EXPECT_EQ(text, "") << scenario.name << " killed at " << text_of(first) << ", its recoverer at " << text_of(second);
      bad += text.empty() ? 0 : 1;
    }
  }
  std::printf("%s: %d double kills\n", scenario.name.c_str(), kills);
}

std::vector<Scenario> chosen_scenarios() {
  std::vector<Scenario> out;
  const std::set<std::string> names{"new_key_with_trigger", "overwrite_with_deadline_with_trigger", "overwrite_expired_with_trigger",
                                    "overwrite_expired", "erase", "erase_with_trigger", "get_expired_with_trigger",
                                    "touch_frozen_with_trigger", "first_overflow_bucket", "longest_chain_evicts_with_trigger",
                                    "large_overwrite_with_trigger", "large_erase_and_reuse", "empties_a_page_for_another_class",
                                    "read_event", "expires_into_a_full_ring"};
  for (Scenario& s : client_scenarios()) {
    if (names.contains(s.name)) out.push_back(std::move(s));
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Operations, DoubleKill, ::testing::ValuesIn(chosen_scenarios()),
                         [](const auto& scenario) { return scenario.param.name; });

/// Runs a duty of the supervisor in a child, killed at each point; `judge` looks at the world then.
void kill_duty(const char* name, SegmentOptions options, EventMask events, const std::function<void(World&)>& prepare,
               const std::function<void(Maintainer&)>& duty, const std::function<std::string(World&)>& judge) {
  const auto play = [&](World& world, const KillPlan& plan, Passed& passed) {
    prepare(world);
    world.drop_keeper();
    const ChildEnd end = run_child(plan, passed, [&] {
      Maintainer keeper = world.make_keeper();
      static_cast<void>(keeper.cache().contains("nothing"));
      arm();
      duty(keeper);
      disarm();
    });
    EXPECT_NE(end, ChildEnd::failed) << name;
    world.new_keeper();
  };
  Passed passed;
  {
    World world{options, events};
    play(world, {}, passed);
    EXPECT_EQ(judge(world), "") << name;
  }
  std::vector<KillPlan> plans = plans_of(passed, 4);
  const long few = std::max(23L, passed.accesses / 40 + 1);
  const long stride = setting("CACHEE_KILL_STRIDE", few);
  for (long access = 1; access <= passed.accesses; access += stride) plans.push_back({.access = access});
  int bad = 0;
  for (const KillPlan& plan : plans) {
    if (bad >= 5) break;
    World world{options, events};
    play(world, plan, passed);
    std::string text = judge(world);
    EXPECT_EQ(text, "") << name << " killed at " << text_of(plan) << " access " << plan.access;
    bad += text.empty() ? 0 : 1;
  }
  EXPECT_GT(plans.size(), 3u) << name;
  std::printf("%s: %zu kills\n", name, plans.size());
}

std::string whole(World& world) {
  std::string text = world.verdict();
  return text += world.leaks();
}

TEST(SupervisorKill, ExpirySweepLosesNoDeadlineAndNoEvent) {
  using namespace std::chrono_literals;
  for (const EventMask events : {EventMask{0}, kAllEvents}) {
    kill_duty("expire_due", small_world(70), events,
              [](World& w) {
                for (int i = 0; i < 30; ++i) w.cache().set("later" + std::to_string(i), "v", {.ttl = 1h});
                for (int i = 0; i < 20; ++i) w.cache().set("due" + std::to_string(i), "v", {.ttl = 1us});
                std::this_thread::sleep_for(2ms);
              },
              [](Maintainer& keeper) { static_cast<void>(keeper.expire_due(monotonic_ns(), 1 << 20)); }, whole);
  }
}

TEST(SupervisorKill, RevisionBehindAStepOfTheClockLosesNoDeadline) {
  for (const EventMask events : {EventMask{0}, kAllEvents}) {
    kill_duty("expire_due_behind_a_step", small_world(70), events, [](World& w) { set_before_a_step(w, 20, 10); },
              [](Maintainer& keeper) { static_cast<void>(keeper.expire_due(monotonic_ns(), 1 << 20)); },
              [](World& w) {
                std::string text = w.verdict();
                text += outlived_a_step(w, 10);
                text += w.damage();
                return text += w.leaks();
              });
  }
}

TEST(SupervisorKill, EvictionSweepLosesNoEvent) {
  kill_duty("evict", small_world(64), kAllEvents,
            [](World& w) {
              for (int i = 0; i < 600; ++i) {
                w.cache().set("fill" + std::to_string(i), std::string(1500, 'f'));
                w.drain();
              }
              w.cache().set("wanted", std::string(1500, 'w'));
            },
            [](Maintainer& keeper) { static_cast<void>(keeper.evict(20)); }, whole);
}

TEST(SupervisorKill, KeepingPagesForRunsLosesNone) {
  const auto write = [](Cache& cache, const char* stem, int i) { cache.set(stem + std::to_string(i), std::string(6000, 'r')); };
  kill_duty("gaps", small_world(96), kAllEvents,
            [&](World& w) {
              for (int i = 0; i < 60; ++i) {
                write(w.cache(), "fill", i);
                w.drain();
              }
            },
            [&](Maintainer& keeper) {
              Cache writer = Cache::open({.name = keeper.cache().name()}).value();
              for (int i = 0; i < 8; ++i) {
                write(writer, "more", i);
                static_cast<void>(keeper.evict(20));
              }
            },
            whole);
}

/// Fills the segment, then takes four of five keys away: every page has something to move. Every
/// other key has a deadline.
void fill_sparsely(World& world) {
  constexpr int kStoredMax = 5000;  // far more than fit
  int stored = 0;
  for (; segment_info(world.cache())->pages_free > 0 && stored < kStoredMax; ++stored) {
    const std::optional<Ttl> ttl = stored % 2 == 0 ? std::optional<Ttl>{std::chrono::hours{1}} : std::nullopt;
    world.cache().set("k" + std::to_string(stored), std::string(700, 'v'), {.ttl = ttl});
    if (stored % 60 == 0) world.drain();
  }
  for (int i = 0; i < stored; ++i) {
    if (i % 5 != 0) world.cache().erase("k" + std::to_string(i));
    if (i % 60 == 0) world.drain();
  }
  world.drain();
}

TEST(SupervisorKill, VacatingAPageLosesAndChangesNothing) {
  State before;
  std::uint64_t events_before = 0;
  kill_duty("vacate", small_world(256), kAllEvents,
            [&](World& w) {
              fill_sparsely(w);
              before = w.state();
              events_before = w.history().events();
              w.leave();
              static_cast<void>(w.keeper().scrub(1 << 20));
            },
            [](Maintainer& keeper) {
              static_cast<void>(keeper.evict(20));
              if (segment_info(keeper.cache())->pages_free == 0) throw std::runtime_error("no page was vacated");
            },
            [&](World& w) {
              std::string text = w.verdict();
              if (const State now = w.state(); now != before) text += "there is " + World::describe(now) + "\n";
              if (w.history().events() != events_before) text += "a move made an event\n";
              for (const auto& [key, value] : before) {
                const auto ttl = w.cache().ttl(key);
                const bool wants_one = std::stoi(key.substr(1)) % 2 == 0;
                if (!ttl || ttl->has_value() != wants_one) text += key + " has another deadline\n";
              }
              return text += w.leaks();
            });
}

TEST(SupervisorKill, ReleaseCountsEachEventOnce) {
  kill_duty("release_through", small_world(), kAllEvents,
            [](World& w) { for (int i = 0; i < 30; ++i) w.cache().set("k" + std::to_string(i % 7), std::to_string(i)); },
            [](Maintainer& keeper) { handle_first(keeper, 30); },
            [](World& w) {
              const std::uint64_t head = w.keeper().reader().head();
              const Counters counters = w.keeper().counters(0);
              std::string text = w.damage();
              if (head % 10 != 0 || counters.emitted != head || counters.acknowledged != head) {
                text += "head " + std::to_string(head) + ", emitted " + std::to_string(counters.emitted) + ", acknowledged " +
                        std::to_string(counters.acknowledged) + "\n";
              }
              // What was not released is there still, in order.
              for (std::uint64_t p = head; p < 30; ++p) {
                const auto event = w.keeper().reader().at(EventSeq{p});
                if (!event || event->value != std::to_string(p)) text += "event " + std::to_string(p) + " is gone\n";
              }
              w.cache().clear();
              return text;
            });
}

TEST(SupervisorKill, AnEventOfManyTriggersIsCountedOnceForEach) {
  constexpr std::uint32_t kTriggers = 5;
  // Two at a time: what a dispatcher does from where the one before it had come to.
  const auto release_first = [](Maintainer& keeper) {
    keeper.acknowledge(EventSeq{0});
    std::vector<Maintainer::Delta> deltas;
    for (std::uint32_t slot = keeper.counted_ahead(); slot < kTriggers; ++slot) deltas.push_back({slot, {.emitted = 1, .acknowledged = 1}});
    std::span<const Maintainer::Delta> left{deltas};
    for (; left.size() > 2; left = left.subspan(2)) keeper.count_ahead(left[2].trigger_slot, left.first(2));
    keeper.release_through(1, left);
  };
  kill_duty("count_ahead", small_world(), kAllEvents, [](World& w) { w.cache().set("k", "v"); }, release_first,
            [&](World& w) {
              std::string text;
              const bool released = w.keeper().reader().head() == 1;
              const std::uint32_t counted = released ? kTriggers : w.keeper().counted_ahead();
              for (std::uint32_t slot = 0; slot < kTriggers; ++slot) {
                if (w.keeper().counters(slot).emitted != (slot < counted ? 1u : 0u)) text += "slot " + std::to_string(slot) + " before\n";
              }
              if (!released) release_first(w.keeper());
              for (std::uint32_t slot = 0; slot < kTriggers; ++slot) {
                if (w.keeper().counters(slot).emitted != 1) text += "slot " + std::to_string(slot) + " behind\n";
              }
              return text += w.damage();
            });
}

TEST(SupervisorKill, PublicationIsAllOrNothing) {
  kill_duty("publish_triggers", small_world(), kAllEvents, [](World&) {},
            [](Maintainer& keeper) {
              for (int i = 0; i < 3; ++i) {
                TriggerTable table = table_of(kAllEvents);
                table.triggers[0].name = "table" + std::to_string(i);
                table.triggers.push_back(table.triggers[0]);
                table.triggers[1].pattern = "session:*";
                static_cast<void>(keeper.publish_triggers(table, kPublishTimeout));
              }
            },
            [](World& w) {
              const auto table = read_triggers(w.keeper().cache());
              if (!table) return std::string{"no table"};
              const bool first = table->triggers.size() == 1 && table->triggers[0].name == "all";
              const bool later = table->triggers.size() == 2 && table->triggers[0].name == table->triggers[1].name &&
                                 table->triggers[0].name == "table" + std::to_string(table->generation - 2);
              w.cache().set("k", "v");
              const bool seen = w.keeper().reader().at(EventSeq{0}).has_value();
              return first || later ? (seen ? w.damage() : std::string{"no event"}) : std::string{"half of a table"};
            });
}

TEST(SupervisorKill, ScrubAndRepairMayBeCutShort) {
  kill_duty("repair", small_world(4), kAllEvents,
            [](World& w) {
              for (int i = 0; i < 60; ++i) w.cache().set("k" + std::to_string(i % 9), std::string(static_cast<std::size_t>(i * 30), 'v'));
              w.drain();
            },
            [](Maintainer& keeper) { static_cast<void>(keeper.repair()); }, whole);
}

}  // namespace
}  // namespace cachee::test
