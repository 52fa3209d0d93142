-- tries: to make bytecode
-- ends: error
string.dump(function() end)
