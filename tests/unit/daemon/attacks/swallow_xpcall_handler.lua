-- tries: to spend time without bound in the message handler
-- ends: steps time
while true do
  xpcall(function() while true do end end, function() while true do end end)
end
