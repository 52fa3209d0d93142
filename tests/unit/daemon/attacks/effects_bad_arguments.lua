-- tries: arguments that would break what carries effects out
-- ends: ok
local bad = {
  {cachee.set, ("k"):rep(70000), "v"}, {cachee.set, "k", {}}, {cachee.set, "k"},
  {cachee.set, "k", "v", {ttl = 0}}, {cachee.set, "k", "v", {ttl = -1}},
  {cachee.set, "k", "v", {ttl = 0 / 0}}, {cachee.set, "k", "v", {ttl = math.huge}},
  {cachee.set, "k", "v", {ttl = "soon"}}, {cachee.set, "k", "v", {cost = 0}},
  {cachee.set, "k", "v", {cost = math.huge}}, {cachee.set, "k", "v", {nx = true, xx = true}},
  {cachee.set, "k", "v", {metadata = {a = {}}}}, {cachee.set, "k", "v", {metadata = {"a"}}},
  {cachee.set, "k", "v", {metadata = {a = ("x"):rep(70000)}}}, {cachee.set, "k", "v", {bogus = 1}},
  {cachee.set, "k", "v", {"x"}}, {cachee.set, "k", "v", 5},
  {cachee.set, "k", "v", {depends_on = {{}}}}, {cachee.set, "k", "v", {depends_on = 7}},
  {cachee.incr, "k", 1.5}, {cachee.incr, "k", "x"}, {cachee.expire, "k"}, {cachee.expire, "k", {}},
  {cachee.log, "../../etc/passwd", {}}, {cachee.log, ".hidden", {}}, {cachee.log, "", {}},
  {cachee.log, "a/b", {}}, {cachee.log, ("c"):rep(65), {}}, {cachee.log, "c"}, {cachee.log, "c", "x"},
  {cachee.log, "c", {f = function() end}}, {cachee.log, "c", {x = 0 / 0}},
  {cachee.webhook, "file:///etc/passwd", {}}, {cachee.webhook, "http://", {}},
  {cachee.webhook, "http://h/\r\nX: y", {}}, {cachee.webhook, "http://h/ x", {}},
  {cachee.webhook, "http://h/", {}, {method = "GET /"}},
  {cachee.webhook, "http://h/", {}, {headers = {["X: y"] = "z"}}},
  {cachee.webhook, "http://h/", {}, {headers = {X = "a\r\nY: b"}}},
  {cachee.webhook, "http://h/", {}, {timeout = "2h"}}, {cachee.webhook, "http://h/", true},
  {cachee.webhook, "http://" .. ("h"):rep(9000), {}},
  {cachee.warm, "k", "gopher://h"}, {cachee.warm, "k"}, {cachee.depends_on, "k"},
  {cachee.depends_on, "k", {}}, {cachee.metric, "a b"}, {cachee.metric, "m", 0 / 0},
  {cachee.once, ""}, {cachee.once, "x", 0}, {cachee.mget, "k"}, {cachee.mget, {{}}},
  {cachee.get}, {cachee.get, {}}, {cachee.hash, {}}, {cachee.hash},
}
for i, call in ipairs(bad) do assert(not pcall(table.unpack(call)), "call " .. i) end
