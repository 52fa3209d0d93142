// A step of the wall clock without one: the segment's offset says that the clock stood elsewhere when deadlines were set.
#pragma once

#include "api/handle.hpp"
#include "crash/scenarios.hpp"
#include "segment/view.hpp"

namespace cachee::test {

/// Values that were to end in an hour when the clock was set an hour forward, and others that go on.
inline void set_before_a_step(World& world, int due, int others) {
  using namespace std::chrono_literals;
  constexpr std::int64_t kHourUs = 3'600'000'000;
  Cache& cache = world.cache();
  cache.set("first", "v", {.deadline_wall_ms = wall_ms_in(24h)});
  mem::Word& offset = cache.handle()->view().header->wall_offset;
  offset.store_seq_cst(layout::WallOffset::make(layout::WallOffset::us(offset.load_seq_cst()) - kHourUs, 1, 0));
  for (int i = 0; i < due; ++i) cache.set("due" + std::to_string(i), "v", {.deadline_wall_ms = wall_ms_in(3ms)});
  for (int i = 0; i < others; ++i) cache.set("later" + std::to_string(i), "v", {.deadline_wall_ms = wall_ms_in(2h)});
  for (int i = 0; i < others; ++i) cache.set("ttl" + std::to_string(i), "v", {.ttl = 2h});
  std::this_thread::sleep_for(5ms);
}

/// Behind a sweep: what has outlived the step.
inline std::string outlived_a_step(World& world, int others) {
  const auto keys = world.cache().size();
  const auto expected = static_cast<std::uint64_t>(1 + 2 * others);
  return keys && *keys == expected ? "" : std::to_string(keys ? *keys : 0) + " keys instead of " + std::to_string(expected) + "\n";
}

}  // namespace cachee::test
