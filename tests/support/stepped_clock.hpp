// The kernel's clocks with steps that nobody but this process sees: the wall clock set by hand, the machine suspended.
//
// Method: a program links stepped_clock.cpp, whose clock_gettime stands in the place of libc's.
#pragma once

#include <chrono>

namespace cachee::test {

/// While it lives, clocks are as its calls say; behind it they are the kernel's again.
class SteppedClock {
 public:
  SteppedClock() = default;
  SteppedClock(const SteppedClock&) = delete;
  SteppedClock& operator=(const SteppedClock&) = delete;
  ~SteppedClock();
  /// Somebody sets the wall clock.
  void step_wall(std::chrono::nanoseconds by);
  /// The machine sleeps: CLOCK_MONOTONIC stands still while the others go on, also those of whoever looks at it from outside.
  void suspend();
  void resume();
};

}  // namespace cachee::test
