-- tries: a loop without an end
-- ends: steps time
for _ = 1, math.huge do end
