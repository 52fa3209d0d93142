-- tries: a comparator without an order
-- ends: ok
local t = {}
for i = 1, 500 do t[i] = i * 7919 % 503 end
table.sort(t, function() return true end)
table.sort(t, function() return math.random(2) == 1 end)
assert(#t == 500)
