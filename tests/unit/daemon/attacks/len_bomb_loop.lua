-- tries: a __len that never returns
-- ends: steps time
local t = setmetatable({}, {__len = function() while true do end end})
pcall(function() return #t end)
return #t
