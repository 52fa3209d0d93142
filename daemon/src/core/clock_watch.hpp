// ClockWatch: says when somebody sets the wall clock, or the machine wakes from a suspend.
//
// A timer of CLOCK_REALTIME that is never due and that the kernel cancels at such a step (timerfd_create(2),
// TFD_TIMER_CANCEL_ON_SET); a thread of its own waits for that, and for nothing else. It may tell of steps that are none.
//
// Threads: start and destruction from one thread; `stepped` is called on the watch's own.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "core/outcome.hpp"

namespace cachee::daemon {

class ClockWatch {
 public:
  /// Calls `stepped` behind each step from now on.
  [[nodiscard]] static Outcome<std::unique_ptr<ClockWatch>> start(std::function<void()> stepped);
  ~ClockWatch();
  ClockWatch(const ClockWatch&) = delete;
  ClockWatch& operator=(const ClockWatch&) = delete;

 private:
  ClockWatch(int timer, int stop, std::function<void()> stepped) noexcept;
  void loop() noexcept;

  int timer_;
  int stop_;  // eventfd
  std::function<void()> stepped_;
  std::thread thread_{};
};

}  // namespace cachee::daemon
