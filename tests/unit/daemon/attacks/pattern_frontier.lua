-- tries: frontiers over a long set
-- ends: steps time
local set = "%f[" .. ("b"):rep(100000) .. "]x"
return ("a"):rep(100000):find(set)
