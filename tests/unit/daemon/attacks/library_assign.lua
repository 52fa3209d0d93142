-- tries: to replace a library function for later runs
-- ends: error
string.rep = nil
