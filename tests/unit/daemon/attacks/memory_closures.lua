-- tries: closures that fill the memory
-- ends: memory steps time
local kept = nil
while true do
  local before = kept
  kept = function() return before end
end
