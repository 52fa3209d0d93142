-- tries: to go on in a to-be-closed variable after the budget has ended
-- ends: steps time
local guard <close> = setmetatable({}, {__close = function() while true do end end})
while true do end
