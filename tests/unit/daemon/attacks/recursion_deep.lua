-- tries: calls until the stack is full
-- ends: error memory
local function f() return 1 + f() end
return f()
