-- tries: a match that takes 2^30 turns
-- ends: steps time
local s = ("a"):rep(30)
return s:find(("a?"):rep(30) .. ("a"):rep(31))
