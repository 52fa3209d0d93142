-- tries: effects without end, errors caught
-- ends: steps time
while true do pcall(cachee.del, "k") end
