// Where victims are stopped and others go on: one world, a victim that is run by the instruction, and
// trials in which a copy of it stands still, then goes on.
#pragma once

#include <ctime>

#include "crash/calls.hpp"
#include "crash/stage.hpp"

namespace cachee::test {

using Script = std::vector<Step>;
struct Others {
  std::string name;
  Script script;
};

/// Ends the program when a trial does not end, and says which.
class Watchdog {
 public:
  explicit Watchdog(const std::string& what) {
    text_ = "no end: " + what + "\n";
    std::signal(SIGALRM, [](int) {
      static_cast<void>(!write(STDERR_FILENO, text_.data(), text_.size()));
      abort();
    });
    alarm(kSecondsMax);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() { alarm(0); }

 private:
  static constexpr unsigned kSecondsMax = 120;
  static inline std::string text_;
};

inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// One world in which a victim is run.
class Ground {
 public:
  Ground(const Beginning& begin, const Step& step, EventMask events)
      : begin_{begin}, step_{step}, world_{small_world(), events} {
    begin.run(world_.cache());
    world_.leave();
    world_.drop_keeper();
    raw_ = std::make_unique<RawSegment>(world_.name());
    victim_ = another(step, registration_);
  }
  /// One more client that is about to make a call, in the memory as it is now.
  std::unique_ptr<Stepped> another(const Step& step, std::uint64_t& registration) {
    registration = reinterpret_cast<const layout::SegmentHeader*>(raw_->at())->registrations.load_relaxed();
    return std::make_unique<Stepped>(*raw_, [&](Mark& mark) {
      if (step.ready) step.ready(world_);
      if (step.run_alone) {
        mark.begin();
        mark.end(step.run_alone(world_));
        return;
      }
      Cache cache = world_.client("victim");
      static_cast<void>(cache.contains("nothing"));
      mark.begin();
      mark.end(step.run(world_, cache));
    });
  }
  Stepped& victim() { return *victim_; }
  World& world() { return world_; }
  RawSegment& raw() { return *raw_; }

  /// Who stands still in a trial.
  struct Standing {
    std::unique_ptr<Stepped> copy;
    const Step& step;
    std::uint64_t registration;
  };
  Standing copy() { return {victim_->clone(), step_, registration_}; }

  /// Others do their script while some stand still where the memory was `state`; then these go on,
  /// one after the other. `passed` happened while they stood. Everything that is wrong with that;
  /// afterwards the memory is as before.
  std::string trial(const Script& others, std::vector<Standing> standing, const RawSegment::Image& state, const Step* passed = nullptr) {
    const RawSegment::Image before = raw_->image();
    raw_->load(state);
    std::vector<std::unique_ptr<KeptLockFile>> kept;
    for (const Standing& one : standing) {
      if (one.step.run_alone) kept.push_back(std::make_unique<KeptLockFile>(world_, one.registration));
    }
    world_.new_keeper();
    Trial trial{begin_, world_.has_trigger()};
    std::vector<std::size_t> calls;
    for (const Standing& one : standing) calls.push_back(trial.begin(one.step));
    if (passed != nullptr) trial.end(trial.begin(*passed), "");
    std::string wrong;
    const double from = cpu_seconds();
    for (const Step& step : others) trial.run(step, world_, world_.cache());
    // What the victims owe is paid in their name; nothing of it is undone.
    static_cast<void>(world_.keeper().help_stalled(monotonic_ns()));
    static_cast<void>(world_.keeper().help_stalled(monotonic_ns() + 1'000'000'000));
    static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
    const double took = cpu_seconds() - from;
    if (took > kOthersSecondsMax) wrong += "others took " + std::to_string(took) + " s\n";
    wrong += findings(world_.keeper().cache());
    std::string text = trial.unexplained(world_);
    if (!text.empty()) wrong += "while it was stopped: " + text;

    for (std::size_t i = 0; i < standing.size(); ++i) {
      standing[i].copy->finish();
      trial.end(calls[i], standing[i].copy->got());
    }
    static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
    wrong += world_.damage();
    wrong += held_back();
    text = trial.unexplained(world_);
    if (!text.empty()) wrong += "at the end: " + text;
    // What they had in lists of their own comes back behind their death.
    for (const Standing& one : standing) {
      if (!one.step.run_alone) move_lock_file(world_, one.registration, "", ".away");  // else it has left
    }
    wrong += world_.reap();
    world_.drain();
    wrong += world_.history().complaints();
    wrong += world_.leaks();
    world_.leave();
    world_.drop_keeper();
    world_.history() = {};
    for (const Standing& one : standing) {
      if (!one.step.run_alone) move_lock_file(world_, one.registration, ".away", "");
    }
    raw_->load(before);
    return wrong;
  }
  /// The same with the victim alone, where it stands.
  std::string trial(const Script& others) {
    std::vector<Standing> alone;
    alone.push_back(copy());
    return trial(others, std::move(alone), victim_->state());
  }

 private:
  static constexpr double kOthersSecondsMax = 1.0;  // what they do takes a few milliseconds

  /// The ring had room all the time: nobody was told otherwise.
  std::string held_back() {
    std::string text;
    const auto clients = list_clients(world_.keeper().cache());
    for (const ClientInfo& client : *clients) {
      if (client.stats.backpressure != 0) text += client.name + " was held back, but the ring had room\n";
    }
    return text;
  }
  const Beginning& begin_;
  const Step& step_;
  World world_;
  std::unique_ptr<RawSegment> raw_;
  std::uint64_t registration_ = 0;
  std::unique_ptr<Stepped> victim_;
};

}  // namespace cachee::test
