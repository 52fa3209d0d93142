-- tries: a chain through a weak table, set up behind setmetatable's back, for which the collector
--        needs a pass over the table per link or two: neighbours in the chain are none in memory
-- ends: killed
local mt = {}
local t = setmetatable({}, mt)
mt.__mode = "k"
local count = 60000
local links = {}
for i = 1, count do links[i] = {} end
local function nth(i) return links[i * 7919 % count + 1] end
local first = nth(1)
for i = 1, count - 1 do t[nth(i)] = nth(i + 1) end
links = nil
local junk = ("x"):rep(7 << 20)
junk = junk .. "y"
return first, t, junk
