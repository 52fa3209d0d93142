-- tries: a plain search that would be quadratic
-- ends: ok steps time
local s = ("a"):rep(2000000)
for i = 1, 5 do s:find(("a"):rep(100000) .. "b", 1, true) end
