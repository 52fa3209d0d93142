-- tries: a chain through a weak table, set up behind setmetatable's back, for which the collector
--        needs a pass over the table per link
-- ends: killed
local mt = {}
local t = setmetatable({}, mt)
mt.__mode = "k"
local first = {}
local key = first
for i = 1, 60000 do
  local link = {}
  t[key] = link
  key = link
end
local junk = ("x"):rep(7 << 20)
junk = junk .. "y"
return first, t, junk
