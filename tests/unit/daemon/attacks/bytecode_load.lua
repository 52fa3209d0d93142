-- tries: to load bytecode
-- ends: error
load("\27Lua")
