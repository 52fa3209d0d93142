-- tries: a __call that leads to itself
-- ends: error
local t = {}
setmetatable(t, {__call = t})
t()
