-- tries: memory by copies of one long string as metadata
-- ends: error
local s = ("x"):rep(7 << 20)
local fields = {}
for i = 1, 64 do fields["f" .. i] = s end
cachee.set("k", "v", {metadata = fields})
