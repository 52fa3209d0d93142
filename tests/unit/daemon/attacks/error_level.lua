-- tries: strange levels
-- ends: error
pcall(error, "x", -1)
pcall(error, "x", 1 << 40)
error("x", 1 << 62)
