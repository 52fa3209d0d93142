-- tries: string.format as a bomb
-- ends: memory steps time
local s = ("x"):rep(1 << 20)
local f = ("%s"):rep(200)
local args = {}
for i = 1, 200 do args[i] = s end
return #string.format(f, table.unpack(args))
