-- tries: to shift a long list for every insertion
-- ends: steps time memory
local t = {}
while true do table.insert(t, 1, "x") end
