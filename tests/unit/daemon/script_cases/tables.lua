-- What Lua's own table and base functions do; runs under a plain Lua 5.4 as well.
local t = {}
table.insert(t, 10) table.insert(t, 2, 20) table.insert(t, 1, -1) table.insert(t, 40) table.insert(t, #t + 1, 50)
assert(table.concat(t, ",") == "-1,10,20,40,50")
assert(not pcall(table.insert, t, 0, 1) and not pcall(table.insert, t, #t + 2, 1))
assert(not pcall(table.insert, t) and not pcall(table.insert, t, 1, 2, 3) and not pcall(table.insert, 1, 2))
assert(table.remove(t, 1) == -1 and table.remove(t) == 50 and table.remove(t, 2) == 20)
assert(#t == 2 and table.concat(t, ",") == "10,40")
assert(table.remove(t, #t + 1) == nil and not pcall(table.remove, t, 10))
assert(table.remove({}) == nil and table.remove({}, 0) == nil)
local zero = {[0] = "zero"}
assert(table.remove(zero) == "zero" and zero[0] == nil)

assert(table.concat({}) == "" and table.concat({}, "x") == "" and table.concat({"\0", "\0\1"}, ".\0.") == "\0.\0.\0\1")
assert(table.concat({1, 2.5, "x"}, "-") == "1-2.5-x" and table.concat({1, 2, 3}, ",", 2) == "2,3")
assert(table.concat({1, 2, 3}, ",", 2, 2) == "2" and table.concat({1, 2, 3}, ",", 3, 2) == "")
assert(table.concat({[math.maxinteger] = "alo"}, "x", math.maxinteger, math.maxinteger) == "alo")
assert(table.concat({[math.maxinteger - 1] = "y", [math.maxinteger] = "alo"}, "-", math.maxinteger - 1, math.maxinteger) == "y-alo")
assert(not pcall(table.concat, {"a", "b", {}}) and not pcall(table.concat, {1, nil, 3}, "", 1, 3))

local packed = table.pack(nil, 2, nil)
assert(packed.n == 3 and packed[2] == 2 and table.pack().n == 0)
assert(select("#", table.unpack({1, nil, 3}, 1, 3)) == 3 and select("#", table.unpack({}, 1, 0)) == 0)
local a, b, c = table.unpack({1, 2, 3}, 2)
assert(a == 2 and b == 3 and c == nil)
assert(table.unpack({[math.maxinteger] = "x"}, math.maxinteger, math.maxinteger) == "x")
assert(select("#", table.unpack({}, math.maxinteger - 1, math.maxinteger)) == 2)
assert(not pcall(table.unpack, {}, 0, math.maxinteger) and not pcall(table.unpack, {}, math.mininteger, 0))

local function list(...) return table.concat(..., ",") end
assert(list(table.move({10, 20, 30}, 1, 3, 2)) == "10,10,20,30")
assert(list(table.move({10, 20, 30}, 1, 3, 3)) == "10,20,10,20,30")
assert(list(table.move({10, 20, 30}, 2, 3, 1)) == "20,30,30")
assert(list(table.move({10, 20, 30}, 1, 3, 1, {})) == "10,20,30")
assert(list(table.move({10, 20, 30}, 1, 0, 3)) == "10,20,30")
assert(table.move({[math.maxinteger] = 7}, math.maxinteger, math.maxinteger, 1, {})[1] == 7)
assert(table.move({7}, 1, 1, math.maxinteger, {})[math.maxinteger] == 7)
assert(not pcall(table.move, {}, 1, 2, math.maxinteger))

local function check_sorted(list, before)
  before = before or function(x, y) return x < y end
  for i = 2, #list do assert(not before(list[i], list[i - 1])) end
end
for n = 0, 70 do
  local numbers = {}
  for i = 1, n do numbers[i] = (i * 7919 + n * 31) % 101 end
  table.sort(numbers) assert(#numbers == n) check_sorted(numbers)
  table.sort(numbers, function(x, y) return x > y end)
  check_sorted(numbers, function(x, y) return x > y end)
end
local words = {"b", "a", "", "aa", "Z"}
table.sort(words)
assert(list(words) == ",Z,a,aa,b")
assert(not pcall(table.sort, {1, "a"}) and not pcall(table.sort, {1, 2, {}}) and not pcall(table.sort, {2, 1}, 5))

local ok, message = pcall(error, "text", 0)
assert(not ok and message == "text")
assert(select(2, pcall(error)) == nil)
local object = {}
assert(select(2, pcall(error, object)) == object)
assert(select("#", pcall(function() return 1, nil, 3 end)) == 4)
assert(select(2, xpcall(function() error("a", 0) end, function(m) return m .. "!" end)) == "a!")
assert(select("#", xpcall(function(...) return ... end, error, 1, 2, nil)) == 4)
assert(not pcall(xpcall) and not pcall(pcall) and not pcall(xpcall, error))
assert(select(2, pcall(pcall, error, "x")) == false)
local depth = 0
local function deep() depth = depth + 1 return pcall(deep) end
deep()
assert(depth > 50)
do
  local closed = {}
  local function closer(name) return setmetatable({}, {__close = function(_, e) closed[#closed + 1] = name .. tostring(e) end}) end
  pcall(function()
    local x <close> = closer("x")
    local y <close> = closer("y")
    error("E", 0)
  end)
  assert(table.concat(closed, " ") == "yE xE")
end
assert(select("#") == 0 and select("#", nil, nil) == 2 and select(-1, 1, 2) == 2 and select(2, 1, 2, 3) == 2)
assert(rawequal(object, object) and not rawequal({}, {}) and rawlen({1, 2}) == 2 and rawlen("abc") == 3)
local proxy = setmetatable({}, {__index = {x = 1}, __newindex = function() error("no") end, __len = function() return 9 end})
assert(proxy.x == 1 and rawget(proxy, "x") == nil and #proxy == 9 and rawset(proxy, "y", 2) == proxy and proxy.y == 2)
assert(getmetatable(setmetatable({}, {__metatable = "mine"})) == "mine")
assert(not pcall(setmetatable, setmetatable({}, {__metatable = 1}), {}) and not pcall(setmetatable, {}) and not pcall(setmetatable, 1, {}))
local seen = {}
for k, v in pairs(setmetatable({}, {__pairs = function() return function(_, k) if not k then return 1, 2 end end end})) do seen[k] = v end
assert(seen[1] == 2)
local sum = 0
for i, v in ipairs({1, 2, nil, 4}) do sum = sum + v end
assert(sum == 3 and next({}) == nil and next({5}) == 1)
assert(type(nil) == "nil" and type(type) == "function" and not pcall(type))
assert(math.type(1) == "integer" and math.type(1.0) == "float" and math.maxinteger + 1 == math.mininteger)
assert(math.floor(-1.5) == -2 and math.max(1, 2.5) == 2.5 and math.ult(1, -1) and math.tointeger("8") == math.tointeger("8"))
local r = math.random(10)
assert(r >= 1 and r <= 10 and math.random() < 1)
