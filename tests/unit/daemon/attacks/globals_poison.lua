-- tries: to leave poisoned globals for the next run
-- ends: ok
assert(poisoned == nil, "a global of an earlier run is there")
poisoned = true
string, table, pairs, tostring, event, cachee = nil, nil, nil, nil, nil, nil
rawset(_ENV, "pcall", 1)
