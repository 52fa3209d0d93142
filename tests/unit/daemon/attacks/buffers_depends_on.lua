-- tries: memory by copies of one long string as parents
-- ends: error
local s = ("x"):rep(7 << 20)
cachee.set("k", "v", {depends_on = s})
