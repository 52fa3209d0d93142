-- tries: effects without end
-- ends: error
while true do cachee.set("k", "v") end
