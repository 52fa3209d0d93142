-- tries: a callback that never returns
-- ends: steps time
while true do pcall(string.gsub, "abc", ".", function() while true do end end) end
