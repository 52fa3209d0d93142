-- tries: comparisons of long strings, one instruction each
-- ends: steps time memory
local a, b = ("x"):rep(3000000) .. "1", ("x"):rep(3000000) .. "1"
while true do local x = a == b local y = a < b local z = a <= b end
