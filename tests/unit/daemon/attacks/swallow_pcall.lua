-- tries: to catch the end of the budget and go on
-- ends: steps time
while true do pcall(function() while true do end end) end
