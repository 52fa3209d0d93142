-- tries: to fill memory with effects and to go on when it is spent
-- ends: memory
local held = ("x"):rep(12 << 20)
local s = ("x"):rep(1 << 20)
for i = 1, 7 do pcall(cachee.set, "k" .. i, s) end
return held
