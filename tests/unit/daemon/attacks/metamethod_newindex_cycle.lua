-- tries: a __newindex that leads to itself
-- ends: error
local t = {}
setmetatable(t, {__newindex = t})
t.x = 1
