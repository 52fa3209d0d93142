-- tries: to escape through _ENV
-- ends: ok
local getmetatable, pcall, setmetatable, assert = getmetatable, pcall, setmetatable, assert
do
  local _ENV = {}
  assert(string == nil and tostring == nil)
  x = 1
end
local function f(_ENV) return y end
assert(f({y = 2}) == 2)
_ENV = setmetatable({}, {__index = function(_, name) return name end})
assert(anything == "anything")
