-- tries: an __index that asks itself
-- ends: error memory steps
local t = setmetatable({}, {})
getmetatable(t).__index = function(self, key) return self[key .. "x"] end
return t.x
