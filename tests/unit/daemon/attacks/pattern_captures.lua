-- tries: more captures than there is room for
-- ends: error
return ("a"):rep(100):find(("(a)"):rep(100))
