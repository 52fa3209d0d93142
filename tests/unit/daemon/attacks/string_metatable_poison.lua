-- tries: to change what strings do
-- ends: error
getmetatable("").__index = function() return "poison" end
