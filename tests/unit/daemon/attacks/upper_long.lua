-- tries: passes over a long string in C
-- ends: steps time memory
local s = ("x"):rep(2000000)
while true do s:upper():lower():reverse() end
