-- tries: a __tostring that returns something else
-- ends: error
return tostring(setmetatable({}, {__tostring = function() return {} end}))
