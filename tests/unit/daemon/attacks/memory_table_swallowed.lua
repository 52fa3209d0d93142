-- tries: to be refused memory again and again
-- ends: memory steps time
local kept = {}
while true do
  pcall(function() for i = 1, 1e7 do kept[#kept + 1] = {i, i, i, i} end end)
end
