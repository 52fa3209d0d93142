-- tries: a comparator that empties the list
-- ends: ok error
local t = {}
for i = 1, 200 do t[i] = 200 - i end
table.sort(t, function(a, b) for i = 1, 200, 3 do t[i] = nil end return (a or 0) < (b or 0) end)
