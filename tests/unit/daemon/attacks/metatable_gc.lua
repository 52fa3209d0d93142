-- tries: a finalizer, which would run outside of any budget
-- ends: error
setmetatable({}, {__gc = function() while true do end end})
