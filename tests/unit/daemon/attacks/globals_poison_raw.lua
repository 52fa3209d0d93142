-- tries: the same with raw writes only
-- ends: ok
assert(rawget(_ENV, "poisoned") == nil, "a global of an earlier run is there")
local rawset = rawset
rawset(_ENV, "poisoned", 1)
rawset(_ENV, 1, 1)
table.insert(_ENV, "list")
