-- tries: matches of nothing
-- ends: steps time memory
local s = ("x"):rep(1000000)
while true do s:gsub("", "") end
