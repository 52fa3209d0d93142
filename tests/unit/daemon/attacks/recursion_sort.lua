-- tries: sort inside sort until the C stack is full
-- ends: error
local function f() table.sort({2, 1}, f) end
f()
