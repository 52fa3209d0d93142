-- tries: long numerals, converted by the machine itself
-- ends: steps time memory
local s = ("1"):rep(4000000)
while true do local x = s + 1 end
