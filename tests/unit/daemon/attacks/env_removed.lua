-- tries: to leave the next run without an environment
-- ends: ok
assert(string.rep)
_ENV = nil
