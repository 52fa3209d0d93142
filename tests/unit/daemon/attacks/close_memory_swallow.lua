-- tries: to hide a memory error behind the error of a closer
-- ends: memory steps time
local kept = {}
while true do
  pcall(function()
    local guard <close> = setmetatable({}, {__close = function() error("harmless") end})
    for i = 1, 1e9 do kept[#kept + 1] = ("x"):rep(10000) .. i end
  end)
end
