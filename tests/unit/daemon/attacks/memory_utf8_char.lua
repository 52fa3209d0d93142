-- tries: many arguments to utf8.char and string.char
-- ends: steps time memory error
local t = {}
for i = 1, 200000 do t[i] = 65 end
while true do
  local a = string.char(table.unpack(t))
  local b = utf8.char(table.unpack(t))
end
