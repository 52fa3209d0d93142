-- tries: loops in operators
-- ends: steps time
local mt = {}
mt.__eq = function() while true do end end
mt.__lt = mt.__eq
mt.__le = mt.__eq
mt.__concat = mt.__eq
local a, b = setmetatable({}, mt), setmetatable({}, mt)
pcall(function() return a == b end)
pcall(function() return a < b end)
return a .. b
