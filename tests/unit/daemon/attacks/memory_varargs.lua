-- tries: arguments that double
-- ends: memory steps time
local function f(...) return f(1, ..., ...) end
local function g(...) local n = select("#", ...) return g(table.unpack({...}, 1, n), table.unpack({...}, 1, n), ...) end
pcall(f)
g(1, 2, 3)
