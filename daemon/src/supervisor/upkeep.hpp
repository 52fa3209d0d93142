// What a supervisor does for the segment besides sweeping: it shows that it lives, cleans up after
// clients that died, pays the debts of those that stopped, and finds memory that nobody lists.
#pragma once

#include <cachee/maintain.hpp>

#include "core/duty_cycle.hpp"

namespace cachee::daemon {

/// One item is one dead client recovered.
class Reaper final : public DutyCycle {
 public:
  explicit Reaper(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs now, int items_max) noexcept override;

 private:
  Maintainer& keeper_;
};

/// One item is one stalled client helped.
class StallHelper final : public DutyCycle {
 public:
  explicit StallHelper(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs now, int) noexcept override { return static_cast<int>(keeper_.help_stalled(now)); }

 private:
  Maintainer& keeper_;
};

/// One item is one page walked.
class Scrubber final : public DutyCycle {
 public:
  explicit Scrubber(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs, int items_max) noexcept override {
    static_cast<void>(keeper_.scrub(static_cast<std::uint64_t>(items_max)));
    return 0;
  }

 private:
  Maintainer& keeper_;
};

}  // namespace cachee::daemon
