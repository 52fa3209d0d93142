// When a failed run is tried again: doubling, jittered, between the trigger's bounds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include <cachee/triggers.hpp>

namespace cachee::daemon {

/// Milliseconds to wait after `attempts` (1, 2, ...) failed: half of it is certain, half is chance,
/// so that what failed together does not come back together.
template <class Random>
[[nodiscard]] std::int64_t backoff_ms(const TriggerSpec& spec, std::uint32_t attempts, Random& random) {
  constexpr std::uint32_t kDoublingsMax = 30;
  const std::uint64_t low = std::max<std::uint64_t>(1, spec.backoff_min_ms);
  const std::uint64_t high = std::max<std::uint64_t>(low, spec.backoff_max_ms);
  const std::uint32_t doublings = std::min(attempts > 0 ? attempts - 1 : 0, kDoublingsMax);
  const std::uint64_t full = std::min(high, low << doublings);
  std::uniform_int_distribution<std::uint64_t> jitter{full - full / 2, full};
  return static_cast<std::int64_t>(jitter(random));
}

}  // namespace cachee::daemon
