-- tries: the closing value of a generic for
-- ends: steps time
local closer = setmetatable({}, {__close = function() while true do end end})
for _ in function() return 1 end, nil, nil, closer do
  while true do end
end
