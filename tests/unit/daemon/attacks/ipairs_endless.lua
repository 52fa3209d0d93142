-- tries: a list without an end
-- ends: steps time
local n = 0
for i in ipairs(setmetatable({}, {__index = function(_, i) return i end})) do n = i end
