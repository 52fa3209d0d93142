-- tries: table.unpack over all integers
-- ends: error
table.unpack({}, math.mininteger, math.maxinteger)
