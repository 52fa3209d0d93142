// What a supervisor does for the segment besides sweeping: it shows that it lives, cleans up after
// clients that died, pays the debts of those that stopped, and finds memory that nobody lists.
#pragma once

#include <algorithm>

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

/// Goes round the pages: often by what clients marked as retired, which costs little; by every block's header slowly, some
/// minutes a round, and in seconds after a client died. One item is one page of the former.
class Scrubber final : public DutyCycle {
 public:
  explicit Scrubber(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs, int items_max) noexcept override {
    const auto pages = static_cast<std::uint64_t>(items_max);
    static_cast<void>(keeper_.reclaim_hinted(pages));
    static_cast<void>(keeper_.scrub(keeper_.scrub_is_urgent() ? pages : std::max<std::uint64_t>(1, pages / kSlowness)));
    return 0;
  }

 private:
  static constexpr std::uint64_t kSlowness = 64;
  Maintainer& keeper_;
};

}  // namespace cachee::daemon
