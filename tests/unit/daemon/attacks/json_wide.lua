-- tries: a table that is small in memory and endless as text
-- ends: memory steps time
local t = {1}
for i = 1, 60 do t = {t, t} end
return cachee.json.encode(t)
