-- tries: a constant _ENV, which once made Lua generate wrong code
-- ends: error
local _ENV <const> = "x"
local function f() return a.b.c end
return f()
