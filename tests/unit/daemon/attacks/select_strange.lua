-- tries: strange indices
-- ends: ok
assert(not pcall(select, 0))
assert(not pcall(select, -1))
assert(select("#", select(1 << 62)) == 0)
assert(not pcall(select, math.mininteger, 1))
