-- tries: passes over a long string in C
-- ends: steps time memory
local s = ("x"):rep(2000000)
while true do utf8.len(s) utf8.offset(s, 1900000) end
