// Straight code: chunks that cannot loop, which is what most handlers are.
//
// How many instructions such a chunk executes is known before it runs, so nobody needs to count them.
#pragma once

#include <cstdint>
#include <optional>

struct lua_State;

namespace cachee::daemon::script {

/// The most VM instructions that one call of the function on top of the stack executes; nullopt when it may
/// go back (a loop, a goto) or makes functions, which could call one another, or when this Lua's code is not
/// the one that is known here. Changes nothing; raises no error.
[[nodiscard]] std::optional<std::uint64_t> steps_of_straight_code(lua_State* lua) noexcept;

}  // namespace cachee::daemon::script
