-- tries: to pretend that memory ran out
-- ends: memory
pcall(error, "not enough memory")
cachee.set("k", "v")
