// The clocks of a simulation: they stand still but for steps and jumps, and reading one is a step.
#pragma once

#include <cstdint>

namespace cachee::sim {

/// Makes every clock of this process the simulation's; 0 gives the kernel's back.
void set_clock(std::int64_t now_ns) noexcept;
[[nodiscard]] std::int64_t clock_now() noexcept;
/// Time passes: a step of the running party that all readers of the clock depend on.
void jump_clock(std::int64_t by_ns) noexcept;
/// Somebody sets the wall clock, which else is the same as the others.
void step_wall_clock(std::int64_t by_ns) noexcept;
void tick_clock() noexcept;

}  // namespace cachee::sim
