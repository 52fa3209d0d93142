-- tries: the same, caught and begun again
-- ends: memory
while true do pcall(string.rep, "x", 1 << 40) end
