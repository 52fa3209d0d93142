-- tries: weak tables, set up behind setmetatable's back
-- ends: ok memory steps time
local mt = {}
local kept = {}
for i = 1, 300 do kept[i] = setmetatable({}, mt) end
mt.__mode = "k"
local key = {}
for i = 300, 1, -1 do
  local next_key = {}
  kept[i][next_key] = key
  key = next_key
end
for i = 1, 200 do local junk = ("x"):rep(10000) .. i end
