-- tries: memory by long keys that were written
-- ends: error memory
for i = 1, 1000 do cachee.once(i .. ("k"):rep(65000)) end
