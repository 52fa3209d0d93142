-- tries: to leave changed metadata for the next run
-- ends: ok
assert(event.metadata.user == "42" and event.origin.kind == "client")
event.metadata.user = "poisoned"
event.origin.kind = "poisoned"
setmetatable(event.metadata, {__index = function() return "poisoned" end})
