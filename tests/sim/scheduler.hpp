// Parties that take turns by the access to shared words, on stacks of their own in one thread: a
// schedule is data, so it repeats exactly.
//
// A Policy decides before every access who goes on. A party can be killed: it is never scheduled
// again. A party that is not scheduled for long is a stopped one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ucontext.h>

#include "mem/schedule_hook.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cachee::sim {

/// Before an access of the running party (or its end): what may happen next.
struct Moment {
  std::uint64_t step = 0;  // of the whole run
  std::size_t running = 0;
  bool ended = false;  // the running party has ended
  const void* at = nullptr;
  bool writes = false;
};
struct Decision {
  bool kill = false;     // the running one dies first
  std::size_t next = 0;  // == running: it goes on
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::size_t first(const std::vector<bool>& runnable) = 0;
  virtual Decision decide(const Moment& moment, const std::vector<bool>& runnable) = 0;
};

/// What was decided, as text: "12>1 40x0 ..." (step, '>' switch or 'x' kill, next party).
struct Choice {
  std::uint64_t step;
  bool kill;
  std::size_t next;
};
inline std::string describe(const std::vector<Choice>& choices) {
  std::string text;
  for (const Choice& c : choices) {
    text += (text.empty() ? "" : " ") + std::to_string(c.step) + (c.kill ? "x" : ">") + std::to_string(c.next);
  }
  return text;
}
inline std::vector<Choice> parse_choices(const std::string& text) {
  std::vector<Choice> choices;
  const char* at = text.c_str();
  while (*at != '\0') {
    char* end = nullptr;
    Choice c{};
    c.step = std::strtoull(at, &end, 10);
    if (end == at || (*end != '>' && *end != 'x')) break;
    c.kill = *end == 'x';
    at = end + 1;
    c.next = std::strtoull(at, &end, 10);
    choices.push_back(c);
    at = end;
    while (*at == ' ') ++at;
  }
  return choices;
}

class Scheduler {
 public:
  /// More accesses than this in a row without an end, while nobody else runs: a livelock.
  static constexpr std::uint64_t kStepsInARowMax = 30'000;

  explicit Scheduler(std::size_t parties) : fibers_(parties) {
    for (Fiber& f : fibers_) f.stack = std::make_unique<char[]>(kStackBytes);
  }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Called at each step with the running party; for clocks and statistics.
  std::function<void(const Moment&)> observe = [](const Moment&) {};
  /// Whether a party may run now; asked at each decision.
  std::function<bool(std::size_t)> may_run = [](std::size_t) { return true; };

  /// Runs the bodies until all have ended or were killed. False: a livelock.
  bool run(const std::vector<std::function<void()>>& bodies, Policy& policy) {
    choices_.clear();
    step_ = 0;
    livelock_ = false;
    policy_ = &policy;
    for (std::size_t i = 0; i < fibers_.size(); ++i) prepare(i, bodies[i]);
    std::vector<bool> runnable = list_runnable();
    next_ = policy.first(runnable);
    choices_.push_back({0, false, next_});
    go_on_with(next_);
    while (!livelock_) {
      if (fibers_[running_].ended || fibers_[running_].killed) {
        runnable = list_runnable();
        std::size_t left = 0;
        for (const bool r : runnable) left += r ? 1 : 0;
        if (left == 0) break;
        if (fibers_[running_].ended) {
          const Decision d = policy.decide({++step_, running_, true, nullptr, false}, runnable);
          choices_.push_back({step_, false, d.next});
          next_ = d.next;
        }
      }
      go_on_with(next_);
    }
    policy_ = nullptr;
    return !livelock_;
  }
  bool killed(std::size_t party) const { return fibers_[party].killed; }
  bool ended(std::size_t party) const { return fibers_[party].ended; }
  std::uint64_t steps() const { return step_; }
  std::size_t running() const { return running_; }
  const std::vector<Choice>& choices() const { return choices_; }

  /// Lets the killed run to their end, where nobody looks any more: they own memory.
  void bury() {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      if (fibers_[i].ended || !fibers_[i].started) continue;
      burying_ = kStepsInARowMax;
      enter(i);
      burying_ = 0;
    }
  }

 private:
  static constexpr std::size_t kStackBytes = 192 * 1024;
  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    std::function<void()> body;
    bool started = false, ended = false, killed = false;
  };

  void prepare(std::size_t i, const std::function<void()>& body) {
    Fiber& f = fibers_[i];
    f.body = body;
    f.started = f.ended = f.killed = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = &main_;
    makecontext(&f.context, &Scheduler::trampoline, 0);
  }
  std::vector<bool> list_runnable() const {
    std::vector<bool> r(fibers_.size());
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = !fibers_[i].ended && !fibers_[i].killed && may_run(i);
    return r;
  }
  void go_on_with(std::size_t party) {
    in_a_row_ = 0;
    enter(party);
  }
  void enter(std::size_t party) {
    running_ = party;
    fibers_[party].started = true;
    current_ = this;
    mem::schedule_point_hook = at_access;
    switch_to(main_, fibers_[party].context, fibers_[party].stack.get());
    mem::schedule_point_hook = nullptr;
  }
  void leave(bool for_ever) { switch_to(fibers_[running_].context, main_, nullptr, for_ever); }
  void switch_to(ucontext_t& from, ucontext_t& to, [[maybe_unused]] char* stack,
                 [[maybe_unused]] bool for_ever = false) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    if (stack != nullptr) {
      __sanitizer_start_switch_fiber(&fake, stack, kStackBytes);
    } else {
      __sanitizer_start_switch_fiber(for_ever ? nullptr : &fake, main_stack_, main_stack_bytes_);
    }
    swapcontext(&from, &to);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    swapcontext(&from, &to);
#endif
  }
  static void trampoline() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &current_->main_stack_, &current_->main_stack_bytes_);
#endif
    Scheduler* const self = current_;
    Fiber& fiber = self->fibers_[self->running_];
    fiber.body();
    fiber.ended = true;
    self->leave(true);
  }
  static void at_access() noexcept { current_->decide(); }

  void decide() {
    if (burying_ != 0) {
      if (--burying_ == 0) leave(false);
      return;
    }
    const Moment moment{++step_, running_, false, mem::scheduled_access.at, mem::scheduled_access.writes};
    observe(moment);
    if (++in_a_row_ > kStepsInARowMax) {
      livelock_ = true;
      leave(false);
      return;
    }
    const Decision d = policy_->decide(moment, list_runnable());
    if (d.kill) fibers_[running_].killed = true;
    if (!d.kill && d.next == running_) return;
    choices_.push_back({step_, d.kill, d.next});
    next_ = d.next;
    leave(false);
  }

  static inline Scheduler* current_ = nullptr;
  std::vector<Fiber> fibers_;
  ucontext_t main_{};
  [[maybe_unused]] const void* main_stack_ = nullptr;
  [[maybe_unused]] std::size_t main_stack_bytes_ = 0;
  Policy* policy_ = nullptr;
  std::vector<Choice> choices_;
  std::uint64_t step_ = 0;
  std::uint64_t in_a_row_ = 0;
  std::uint64_t burying_ = 0;
  std::size_t running_ = 0;
  std::size_t next_ = 0;
  bool livelock_ = false;
};

/// Repeats what another run decided.
class Replay final : public Policy {
 public:
  explicit Replay(std::vector<Choice> choices) : choices_{std::move(choices)} {}
  std::size_t first(const std::vector<bool>&) override { return choices_.empty() ? 0 : choices_[at_++].next; }
  Decision decide(const Moment& moment, const std::vector<bool>& runnable) override {
    if (at_ < choices_.size() && choices_[at_].step == moment.step) {
      const Choice& c = choices_[at_++];
      return {c.kill, c.next};
    }
    if (!moment.ended) return {false, moment.running};
    std::size_t next = 0;
    while (next + 1 < runnable.size() && !runnable[next]) ++next;
    return {false, next};
  }

 private:
  std::vector<Choice> choices_;
  std::size_t at_ = 0;
};

}  // namespace cachee::sim
