// Goal: code that may repeat itself is never taken for straight code, and straight code is known for what it
// is. Method: sources with each kind of loop, compiled by the same Lua; runs whose exact steps are compared
// with the bound; loops in a Runtime, which must end at their limit.
#include <gtest/gtest.h>

#include <lua.hpp>

#include "script/straight_code.hpp"
#include "unit/daemon/script_support.hpp"

namespace cachee::daemon::test {
namespace {

std::optional<std::uint64_t> steps_of(const std::string& source) {
  lua_State* const lua = luaL_newstate();
  EXPECT_EQ(luaL_loadstring(lua, source.c_str()), LUA_OK) << lua_tostring(lua, -1);
  const auto steps = script::steps_of_straight_code(lua);
  lua_close(lua);
  return steps;
}

// Each of them runs for ever, or would with other numbers.
const std::vector<std::string> kRepeating = {"while true do end",
                                             "while x do x = x.next end",
                                             "repeat until false",
                                             "repeat local y = x until y",
                                             "::again:: goto again",
                                             "::again:: if x then x = nil goto again end",
                                             "for i = 1, 10 do x = i end",
                                             "for i = 1, 1.5 do end",
                                             "for k in pairs({}) do x = k end",
                                             "for k in next, {} do end",
                                             "local function f() return f() end f()",
                                             "local t = {function() end}",
                                             "x = setmetatable({}, {__index = function(t, k) return t[k] end})"};
const std::vector<std::string> kStraight = {"",
                                            "local k, v = event.key, event.value",
                                            "if a then b = 1 elseif c then b = 2 else b = 3 end",
                                            "local x = a and b or c",
                                            "cachee.log('audit', {key = event.key, n = #event.value})",
                                            "do goto done end x = 1 ::done:: return x",
                                            "local a <close> = nil",
                                            "return tostring(x) .. 'y' .. 'z', 2 < 3, not x"};

TEST(StraightCode, LoopsAndFunctionsAreNot) {
  for (const auto& source : kRepeating) EXPECT_EQ(steps_of(source), std::nullopt) << source;
}

TEST(StraightCode, IsCounted) {
  for (const auto& source : kStraight) {
    const auto steps = steps_of(source);
    ASSERT_TRUE(steps) << source;
    EXPECT_GT(*steps, 0u);
    EXPECT_LT(*steps, 100u) << source;
  }
  // Long constants do not hide the code behind them.
  EXPECT_TRUE(steps_of("local s = '" + std::string(100'000, 'x') + "'"));
  EXPECT_FALSE(steps_of("local s = '" + std::string(100'000, 'x') + "' while true do end"));
}

TEST(StraightCode, IsABoundOfWhatRuns) {
  for (const std::string source : {"local k, v = event.key, event.value", "if event.cost > 1 then local x = event.key .. 'y' end"}) {
    ScriptWorld world;
    world.limits.exact_steps = true;
    const RunResult result = world.run(source);
    ASSERT_TRUE(result.ok) << result.error;
    const auto bound = steps_of(source);
    ASSERT_TRUE(bound);
    constexpr std::uint64_t kOfTheRuntime = 8;  // what it charges for making fields
    EXPECT_LE(result.steps, *bound + kOfTheRuntime) << source;
    EXPECT_GE(result.steps, 4u);
  }
}

TEST(StraightCode, RepeatingCodeEndsAtItsLimit) {
  for (const std::string source : {"while true do end", "repeat until false", "::again:: goto again",
                                   "for i = 1, math.huge do end", "local function f() return f() end f()"}) {
    ScriptWorld world;
    world.limits.steps = 10'000;
    EXPECT_EQ(world.error_of(source), "instruction limit of 10000 exceeded (STEPS)") << source;
  }
}

TEST(StraightCode, LongCodeIsCountedWhenTheLimitIsSmaller) {
  std::string source;
  for (int i = 0; i < 90; ++i) source += "local a" + std::to_string(i) + " = event\n";
  ScriptWorld world;
  world.limits.steps = 50;
  EXPECT_EQ(world.error_of(source), "instruction limit of 50 exceeded (STEPS)");
  world.limits.steps = 200;
  EXPECT_EQ(world.error_of(source), "");
}

}  // namespace
}  // namespace cachee::daemon::test
