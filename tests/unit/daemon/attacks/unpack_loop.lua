-- tries: to have large results made again and again
-- ends: steps time memory
while true do select("#", table.unpack({}, 1, 200000)) end
