-- tries: to replace metatables that are not the script's
-- ends: ok
assert(not pcall(setmetatable, string, {}))
assert(not pcall(setmetatable, cachee, {}))
assert(not pcall(setmetatable, event, {}))
assert(not pcall(setmetatable, _ENV, {}))
assert(not pcall(setmetatable, "", {}))
assert(getmetatable(string) == false and getmetatable(cachee) == false)
assert(getmetatable(event) == false and getmetatable(_ENV) == false)
assert(getmetatable("") == false)
