#include "core/runner.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <pthread.h>

#include "core/clock.hpp"

namespace cachee::daemon {
namespace {

constexpr TimeNs kTick = 10'000'000;

}  // namespace

Runner::Runner(std::string name, std::vector<Part> parts, std::function<void()> begin, std::function<void(TimeNs until)> idle)
    : name_{std::move(name)}, begin_{std::move(begin)}, idle_{std::move(idle)} {
  for (Part& part : parts) {
    auto state = std::make_unique<State>();
    state->part = std::move(part);
    states_.push_back(std::move(state));
  }
}

void Runner::start() {
  thread_ = std::thread{[this] {
    pthread_setname_np(pthread_self(), name_.c_str());
    if (begin_) begin_();
    loop();
  }};
}

void Runner::stop() noexcept {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
}

bool Runner::run(State& state) noexcept {
  const Part& part = state.part;
  const TimeNs now = mono_ns();
  const int done = part.cycle->do_work(now, part.items_max);
  const auto took = static_cast<std::uint64_t>(mono_ns() - now);
  state.work.fetch_add(static_cast<std::uint64_t>(done));
  if (took > state.longest_ns.load()) state.longest_ns.store(took);
  // A part that used all it may comes again at once, behind the others.
  const bool more = done >= part.items_max;
  state.pause = done > 0 || part.every_max == 0 ? part.every : std::clamp(2 * state.pause, part.every, part.every_max);
  state.due = more ? now : now + state.pause;
  // Parts that are not in a hurry come together: one wake for all of them.
  if (!more && state.pause >= kTick) state.due -= state.due % kTick;
  return more;
}

void Runner::loop() noexcept {
  while (!stopping_.load()) {
    bool worked = false;
    TimeNs next = mono_ns() + std::chrono::nanoseconds{std::chrono::seconds{1}}.count();
    for (const auto& state : states_) {
      if (mono_ns() >= state->due) worked = run(*state) || worked;
      next = std::min(next, state->due);
    }
    if (!worked) idle_(next);
  }
}

std::vector<Runner::Figures> Runner::figures() const {
  std::vector<Figures> all;
  for (const auto& state : states_) all.push_back({state->part.name, state->work.load(), state->longest_ns.load()});
  return all;
}

}  // namespace cachee::daemon
