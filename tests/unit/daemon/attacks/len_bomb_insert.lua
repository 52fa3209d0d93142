-- tries: a __len of 2^40 for table.insert
-- ends: ok
local t = setmetatable({}, {__len = function() return 1 << 40 end})
table.insert(t, 1, "x")
assert(rawlen(t) == 1)
