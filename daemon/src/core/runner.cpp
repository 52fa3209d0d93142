#include "core/runner.hpp"

#include <algorithm>
#include <chrono>

#include "core/clock.hpp"

namespace cachee::daemon {

Runner::Runner(std::vector<Part> parts, std::function<void(TimeNs until)> idle) : idle_{std::move(idle)} {
  for (Part& part : parts) {
    auto state = std::make_unique<State>();
    state->part = std::move(part);
    states_.push_back(std::move(state));
  }
}

void Runner::start() { thread_ = std::thread{[this] { loop(); }}; }

void Runner::stop() noexcept {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
}

void Runner::loop() noexcept {
  while (!stopping_.load()) {
    bool worked = false;
    TimeNs next = mono_ns() + std::chrono::nanoseconds{std::chrono::seconds{1}}.count();
    for (const auto& state : states_) {
      const TimeNs now = mono_ns();
      if (now >= state->due) {
        const int done = state->part.cycle->do_work(now, state->part.items_max);
        const auto took = static_cast<std::uint64_t>(mono_ns() - now);
        state->work.fetch_add(static_cast<std::uint64_t>(done));
        if (took > state->longest_ns.load()) state->longest_ns.store(took);
        // A part that used all it may comes again at once, behind the others.
        state->due = done >= state->part.items_max ? now : now + state->part.every;
        worked = worked || done >= state->part.items_max;
      }
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
