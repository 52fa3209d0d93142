-- tries: a pattern that needs a deep C stack
-- ends: error
return ("a"):rep(1000):find(("a?"):rep(1000))
