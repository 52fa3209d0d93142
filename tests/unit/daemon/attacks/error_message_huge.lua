-- tries: an error message of a megabyte
-- ends: error
error(("x"):rep(1000000))
