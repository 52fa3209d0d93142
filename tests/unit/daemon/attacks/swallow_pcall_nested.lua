-- tries: to hide the end of the budget under a tower of pcall
-- ends: steps time
local function spin() while true do end end
while true do pcall(pcall, pcall, pcall, pcall, pcall, pcall, pcall, spin) end
