-- tries: a hash that fills the memory
-- ends: memory steps time
local t = {}
for i = 1, math.huge do t["k" .. i] = {i} end
