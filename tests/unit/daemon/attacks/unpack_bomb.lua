-- tries: table.unpack of more than the stack holds
-- ends: error
table.unpack({}, 1, 1e9 // 1)
