-- tries: more results than the stack holds
-- ends: error
return ("x"):rep(4000000):byte(1, -1)
