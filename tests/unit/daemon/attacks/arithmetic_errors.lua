-- tries: operations that trap in C
-- ends: ok
assert(not pcall(function() return 1 // 0 end))
assert(not pcall(function() return 1 % 0 end))
assert(math.mininteger // -1 == math.mininteger and math.mininteger % -1 == 0)
assert(not pcall(function() return 1 << {} end))
assert(not pcall(math.random, 0, -1))
assert(not pcall(function() return 2^53 | 1.5 end))
assert(not pcall(math.tointeger, {}) or true)
for i = math.maxinteger - 1, math.maxinteger do end
for i = math.mininteger, math.mininteger + 2 do end
