-- tries: pcall inside pcall until the C stack is full
-- ends: ok error steps
local function f() return pcall(f) end
f()
