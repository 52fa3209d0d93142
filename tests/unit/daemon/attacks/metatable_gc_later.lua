-- tries: to smuggle a finalizer in after setmetatable
-- ends: ok
local mt = {}
for i = 1, 100 do setmetatable({}, mt) end
mt.__gc = function() while true do end end
local junk
for i = 1, 2000 do junk = {("x"):rep(100) .. i} end
