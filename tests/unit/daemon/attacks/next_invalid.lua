-- tries: next() with a key that is not there
-- ends: error
next({}, "no")
