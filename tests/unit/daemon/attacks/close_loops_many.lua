-- tries: a thousand closers, each of which wants a budget
-- ends: steps time memory error
local function nest(n)
  local guard <close> = setmetatable({}, {__close = function() while true do end end})
  if n > 0 then nest(n - 1) end
  while true do end
end
nest(150)
