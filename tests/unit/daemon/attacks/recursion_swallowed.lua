-- tries: to fill the stack again and again
-- ends: error memory steps time
local function f() return 1 + f() end
while true do pcall(f) end
