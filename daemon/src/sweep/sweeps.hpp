// The sweeps: what is due is removed with its event; what must go makes room. Each takes bounded
// steps and gives way.
#pragma once

#include <cachee/maintain.hpp>

#include "core/duty_cycle.hpp"

namespace cachee::daemon {

/// Removes expired keys. One item is one bucket visited.
class ExpirySweep final : public DutyCycle {
 public:
  explicit ExpirySweep(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs now, int items_max) noexcept override {
    return static_cast<int>(keeper_.expire_due(now, static_cast<std::uint64_t>(items_max)));
  }

 private:
  Maintainer& keeper_;
};

/// Takes in the reads that clients sampled, so that operators see what other sizes would bring. One item is a call that
/// found some.
class MissEstimate final : public DutyCycle {
 public:
  explicit MissEstimate(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs, int) noexcept override { return keeper_.estimate() ? 1 : 0; }

 private:
  Maintainer& keeper_;
};

/// Counts what each size class holds, for metrics. One item is a round over all pages.
class SlabCensusTaker final : public DutyCycle {
 public:
  explicit SlabCensusTaker(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs now, int items_max) noexcept override {
    return keeper_.count_slabs(now, static_cast<std::uint64_t>(items_max)) ? 1 : 0;
  }

 private:
  Maintainer& keeper_;
};

/// Evicts when an allocator met its limit, until a reserve is free again. One item is one key.
class EvictionSweep final : public DutyCycle {
 public:
  explicit EvictionSweep(Maintainer& keeper) noexcept : keeper_{keeper} {}
  int do_work(TimeNs, int items_max) noexcept override {
    return static_cast<int>(keeper_.evict(static_cast<std::uint64_t>(items_max)));
  }

 private:
  Maintainer& keeper_;
};

}  // namespace cachee::daemon
