-- tries: the names that a sandbox must not have
-- ends: ok
for _, name in ipairs{"io", "os", "require", "load", "loadstring", "loadfile", "dofile", "debug",
                      "package", "collectgarbage", "coroutine", "print", "_G", "_VERSION", "warn",
                      "getfenv", "setfenv", "module", "newproxy", "bit32", "unpack"} do
  assert(_ENV[name] == nil, name)
end
assert(string.dump == nil)
