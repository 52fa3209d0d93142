-- tries: more results than the stack holds
-- ends: error memory steps
return utf8.codepoint(("x"):rep(4000000), 1, -1)
