-- tries: table.move over 2^40 items
-- ends: error
table.move({}, 1, 1 << 40, 2)
