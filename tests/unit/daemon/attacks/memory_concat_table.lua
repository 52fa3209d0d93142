-- tries: table.concat of large strings
-- ends: memory
local t = {}
local s = ("x"):rep(1 << 20)
for i = 1, 64 do t[i] = s end
return #table.concat(t)
