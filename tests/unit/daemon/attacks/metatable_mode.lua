-- tries: weak tables, which make the collector work without bound
-- ends: error
setmetatable({}, {__mode = "k"})
