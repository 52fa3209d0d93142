-- tries: a string that fills the memory
-- ends: memory time
local s = "x"
while true do s = s .. s end
