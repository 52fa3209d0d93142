-- tries: one call that makes ten gigabytes
-- ends: memory
local s = ("x"):rep(1e10 // 1)
