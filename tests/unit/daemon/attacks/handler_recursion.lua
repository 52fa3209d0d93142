-- tries: to run handlers inside handlers until the C stack is full
-- ends: ok error steps memory time
local function handler() xpcall(error, handler) error("more") end
xpcall(error, handler)
