-- tries: %b over a long subject from every position
-- ends: steps time
return ("("):rep(100000):find("%b()x")
