-- tries: to catch the limit and leave effects behind
-- ends: steps time
pcall(function() while true do end end)
cachee.set("stolen", "1")
