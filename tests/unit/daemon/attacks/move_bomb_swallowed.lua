-- tries: large moves again and again
-- ends: steps time
while true do pcall(table.move, {}, 1, 1 << 23, 2) end
