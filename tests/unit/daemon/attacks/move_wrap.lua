-- tries: table.move past the largest integer
-- ends: ok
assert(not pcall(table.move, {}, 1, 10, math.maxinteger))
assert(not pcall(table.move, {}, math.mininteger, math.maxinteger, 1))
