-- tries: nesting without end
-- ends: error
local t = {}
for i = 1, 10000 do t = {t} end
return cachee.json.encode(t)
