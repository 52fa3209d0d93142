-- tries: the same again and again, errors caught
-- ends: ok steps
local s = ("x"):rep(4 << 20)
local fields = {}
for i = 1, 64 do fields["f" .. i] = s end
for i = 1, 100 do
  assert(not pcall(cachee.set, "k", "v", {metadata = fields}))
  assert(not pcall(cachee.webhook, "http://h/", "body", {headers = fields}))
  assert(not pcall(cachee.set, "k", "v", {depends_on = s}))
end
