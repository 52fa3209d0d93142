-- tries: string.pack with many middling sizes
-- ends: error memory steps time
local format = ("c99999"):rep(160)
local t = {}
for i = 1, 160 do t[i] = "x" end
while true do t.s = string.pack(format, table.unpack(t)) .. (t.s or "") end
