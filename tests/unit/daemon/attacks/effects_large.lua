-- tries: effects that fill the supervisor's memory
-- ends: error steps time
local s = ("x"):rep(1 << 20)
for i = 1, 100 do cachee.set("k" .. i, s) end
