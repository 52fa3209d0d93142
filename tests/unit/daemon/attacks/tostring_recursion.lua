-- tries: a __tostring that asks itself
-- ends: error
local t = {}
setmetatable(t, {__tostring = function(self) return tostring(self) end})
return tostring(t)
