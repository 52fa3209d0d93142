-- tries: a callback in C, where no instruction is counted
-- ends: steps time memory
local s = ("x"):rep(1000000)
while true do s:gsub("x", string.upper) end
