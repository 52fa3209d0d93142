-- tries: a __tostring that never returns
-- ends: steps time
local t = setmetatable({}, {__tostring = function() while true do end end})
pcall(tostring, t)
return tostring(t)
