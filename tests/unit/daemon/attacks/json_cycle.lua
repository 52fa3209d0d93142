-- tries: a table that contains itself
-- ends: error
local t = {}
t.t = t
return cachee.json.encode(t)
