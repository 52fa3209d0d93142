-- tries: a __len of 2^40 for table.sort, concat and unpack
-- ends: ok
local t = setmetatable({3, 1, 2}, {__len = function() return 1 << 40 end,
                                   __index = function() return 0 end})
table.sort(t)
assert(table.concat(t, ",") == "1,2,3")
assert(select("#", table.unpack(t)) == 3)
