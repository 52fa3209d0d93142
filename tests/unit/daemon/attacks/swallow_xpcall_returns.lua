-- tries: to turn the end of the budget into a result
-- ends: steps time
local caught = 0
while caught < 1e9 do
  xpcall(function() while true do end end, function() caught = caught + 1 return "fine" end)
end
