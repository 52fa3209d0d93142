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
    TimeNs every = 0;        // not more often than this
    int items_max = 1;       // of one call: the part gives way after so many
  };
  struct Figures {
    std::string name{};
    std::uint64_t work = 0;
    std::uint64_t longest_ns = 0;
  };

  /// `idle(until)` sleeps until then, or less; it is called when no part had work.
  Runner(std::vector<Part> parts, std::function<void(TimeNs until)> idle);
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
    std::atomic<std::uint64_t> work{0};
    std::atomic<std::uint64_t> longest_ns{0};
  };
  void loop() noexcept;

  std::vector<std::unique_ptr<State>> states_{};
  std::function<void(TimeNs until)> idle_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_{};
};

}  // namespace cachee::daemon
