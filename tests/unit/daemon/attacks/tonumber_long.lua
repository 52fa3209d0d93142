-- tries: long numerals, converted in C
-- ends: steps time
local s = ("1"):rep(4000000)
while true do tonumber(s, 10) end
