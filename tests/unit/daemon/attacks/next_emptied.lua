-- tries: next() over a large table that was emptied
-- ends: steps time memory
local t = {}
for i = 1, 100000 do t["k" .. i] = true end
for i = 1, 100000 do t["k" .. i] = nil end
while true do next(t) end
