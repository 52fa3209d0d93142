// Runner: one thread that runs duty cycles, measures them, and idles when none had work.
//
// Threads: start/stop from one thread; figures() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/duty_cycle.hpp"

namespace cachee::daemon {

class Runner {
 public:
  struct Part {
    std::string name{};
    DutyCycle* cycle = nullptr;
    TimeNs every = 0;        // not more often than this; 0: whenever the thread does not idle
    TimeNs every_max = 0;    // without work the pause doubles up to this; 0: it does not
    int items_max = 1;       // of one call: the part gives way after so many
  };
  struct Figures {
    std::string name{};
    std::uint64_t work = 0;
    std::uint64_t longest_ns = 0;
  };

  /// `name` is the thread's, at most 15 characters. `begin()` is called on it first. `idle(until)` sleeps until then, or
  /// less; it is called when no part had work.
  Runner(std::string name, std::vector<Part> parts, std::function<void()> begin, std::function<void(TimeNs until)> idle);
  ~Runner() { stop(); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  void start();
  void stop() noexcept;
  [[nodiscard]] std::vector<Figures> figures() const;

 private:
  struct State {
    Part part{};
    TimeNs due = 0;
    TimeNs pause = 0;
    std::atomic<std::uint64_t> work{0};
    std::atomic<std::uint64_t> longest_ns{0};
  };
  void loop() noexcept;
  /// True when the part used all it may, and so has more to do.
  static bool run(State& state) noexcept;

  std::string name_{};
  std::vector<std::unique_ptr<State>> states_{};
  std::function<void()> begin_{};
  std::function<void(TimeNs until)> idle_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_{};
};

}  // namespace cachee::daemon
