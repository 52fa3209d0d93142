// Runs a scenario under schedules and judges each run.
#pragma once

#include <chrono>
#include <cstdio>
#include <memory>

#include "sim/policies.hpp"
#include "sim/world.hpp"
#include "support/seed.hpp"

namespace cachee::sim {

struct Scenario {
  std::string name;
  Script initial{};
  std::vector<Script> parties{};
  bool watched = true;
  bool evicts = false;
};

struct Explored {
  std::uint64_t schedules = 0;
  std::uint64_t steps = 0;
  std::string wrong{};
};

class Explorer {
 public:
  explicit Explorer(const Scenario& scenario)
      : scenario_{scenario},
        world_{{.parties = scenario.parties.size() + 1, .watched = scenario.watched, .evicts = scenario.evicts}},
        scheduler_{scenario.parties.size() + 1} {
    world_.prepare(scenario.initial);
    const std::size_t recoverer = scenario.parties.size();
    for (std::size_t i = 0; i < recoverer; ++i) {
      bodies_.push_back([this, i] { world_.run_script(i, scenario_.parties[i]); });
    }
    bodies_.push_back(
        [this, recoverer] { world_.run_script(recoverer, {{.name = "recover", .duty = Step::Duty::recover}}); });
    scheduler_.may_run = [this, recoverer](std::size_t party) {
      if (party != recoverer) return true;
      bool any = false;
      for (std::size_t i = 0; i < recoverer; ++i) {
        if (!scheduler_.killed(i)) continue;
        world_.declare_dead(i);
        any = true;
      }
      return any;
    };
    scheduler_.observe = [](const Moment&) { tick_clock(); };
  }

  [[nodiscard]] bool mortal(std::size_t party) const { return party < scenario_.parties.size(); }
  [[nodiscard]] std::size_t parties() const { return bodies_.size(); }

  /// One run; empty: sound.
  std::string run(Policy& policy) {
    world_.rewind();
    const bool ended = scheduler_.run(bodies_, policy);
    ++explored_.schedules;
    explored_.steps += scheduler_.steps();
    std::string wrong =
        ended ? world_.verdict(explored_.schedules % 8 == 1) : "livelock: a party ran on and on alone\n";
    const std::string history = wrong.empty() ? "" : world_.history();
    scheduler_.bury();
    if (!wrong.empty()) {
      wrong = scenario_.name + ", CACHEE_SIM_SCHEDULE='" + describe(scheduler_.choices()) + "'\n" + wrong + history;
    }
    return wrong;
  }

  /// Every schedule within the budget, until one is wrong.
  Explored exhaust(Budget budget) {
    Conflicts conflicts;
    explored_ = {};
    do {
      Exhaustive policy{conflicts, budget, [this](std::size_t party) { return mortal(party); }};
      while (policy.begin()) {
        explored_.wrong = run(policy);
        if (!explored_.wrong.empty()) return explored_;
      }
    } while (conflicts.activate());
    return explored_;
  }
  /// Some of them.
  Explored sample(Budget budget, std::uint64_t seed, std::uint64_t schedules) {
    Conflicts conflicts;
    explored_ = {};
    std::uint64_t moments = 100;
    for (std::uint64_t i = 0; i < schedules && explored_.wrong.empty(); ++i) {
      Sample policy{conflicts, budget, seed + i, moments, [this](std::size_t party) { return mortal(party); }};
      explored_.wrong = run(policy);
      conflicts.activate();
      moments = (7 * moments + std::max<std::uint64_t>(policy.moments(), 10)) / 8 + 1;
    }
    return explored_;
  }
  Explored random(std::uint64_t seed, std::uint64_t schedules) {
    explored_ = {};
    std::uint64_t steps = 500;
    for (std::uint64_t i = 0; i < schedules; ++i) {
      RandomPriorities policy{seed + i, parties(), steps, [this](std::size_t party) { return mortal(party); }};
      explored_.wrong = run(policy);
      if (!explored_.wrong.empty()) return explored_;
      steps = explored_.steps / explored_.schedules + 1;
    }
    return explored_;
  }
  Explored replay(const std::string& schedule) {
    explored_ = {};
    Replay policy{parse_choices(schedule)};
    explored_.wrong = run(policy);
    return explored_;
  }

 private:
  Scenario scenario_;
  World world_;
  Scheduler scheduler_;
  std::vector<std::function<void()>> bodies_;
  Explored explored_;
};

}  // namespace cachee::sim
