-- tries: to learn where objects are
-- ends: ok
for _, value in ipairs{{}, function() end, event, string.rep, cachee} do
  assert(not tostring(value):find("0x"))
end
