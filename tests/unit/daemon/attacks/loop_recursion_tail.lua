-- tries: endless tail calls, which take no stack
-- ends: steps time
local function f() return f() end
return f()
