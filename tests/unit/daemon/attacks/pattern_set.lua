-- tries: a set as long as the subject
-- ends: steps time
local set = "[" .. ("b"):rep(100000) .. "]"
return ("a"):rep(100000):find(set)
