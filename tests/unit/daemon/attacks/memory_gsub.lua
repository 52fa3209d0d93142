-- tries: a substitution that makes a terabyte
-- ends: memory steps time
local s = ("x"):rep(1e6 // 1)
return #s:gsub("x", ("y"):rep(1e6 // 1))
