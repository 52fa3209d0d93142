-- tries: a __name that fills the memory
-- ends: memory steps time
local t = setmetatable({}, {__name = ("x"):rep(3000000)})
local kept = {}
while true do kept[#kept + 1] = tostring(t) end
