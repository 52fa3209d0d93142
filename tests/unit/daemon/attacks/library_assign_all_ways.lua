-- tries: to write into shared tables through every function that writes
-- ends: ok
for _, lib in ipairs{string, table, math, utf8, cachee, cachee.json} do
  assert(not pcall(function() lib.x = 1 end))
  assert(not pcall(rawset, lib, "x", 1))
  assert(not pcall(table.insert, lib, 1))
  assert(not pcall(table.remove, lib))
  assert(not pcall(table.sort, lib))
  assert(not pcall(table.move, {1}, 1, 1, 1, lib))
  assert(rawget(lib, "x") == nil and lib.x == nil)
  for name in pairs(lib) do assert(type(name) == "string") end
end
