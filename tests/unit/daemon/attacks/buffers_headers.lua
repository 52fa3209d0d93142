-- tries: memory by copies of one long string as headers
-- ends: error
local s = ("x"):rep(7 << 20)
local fields = {}
for i = 1, 64 do fields["X-" .. i] = s end
cachee.webhook("http://h/", "body", {headers = fields})
