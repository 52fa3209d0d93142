-- tries: callbacks inside callbacks until the C stack is full
-- ends: error
local function f() return (("x"):gsub("x", f)) end
return f()
