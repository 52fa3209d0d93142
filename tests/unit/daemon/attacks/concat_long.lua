-- tries: concatenations of long strings, one instruction each
-- ends: steps time memory
local s = ("x"):rep(2000000)
while true do local t = s .. "y" end
