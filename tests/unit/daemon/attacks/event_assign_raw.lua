-- tries: the same with raw functions
-- ends: ok
assert(not pcall(rawset, event, "key", "other"))
assert(rawget(event, "key") == nil)
assert(next(event) == nil)
assert(not pcall(table.insert, event, 1))
event.metadata.user = "other"
assert(event[1] == nil and event.nothing == nil and event[{}] == nil)
