-- tries: to grow a table while it is walked
-- ends: steps time memory error
local t = {1}
for k in pairs(t) do for i = 1, 100 do t[{}] = k end end
while true do for k in pairs(t) do t[k] = nil t[{}] = 1 end end
