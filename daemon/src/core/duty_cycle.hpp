// One cooperative part of the daemon, run at its own pace.
#pragma once

#include <cachee/types.hpp>

namespace cachee::daemon {

class DutyCycle {
 public:
  virtual ~DutyCycle() = default;
  /// Does at most `items_max` units of work; returns how many. 0 lets the runner idle. Never
  /// sleeps, waits on a peer or scans without a bound. `now` is CLOCK_MONOTONIC.
  virtual int do_work(TimeNs now, int items_max) noexcept = 0;
};

}  // namespace cachee::daemon
