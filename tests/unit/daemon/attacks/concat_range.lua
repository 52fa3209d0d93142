-- tries: table.concat over 2^62 items
-- ends: error
table.concat({}, ",", 1, 1 << 62)
