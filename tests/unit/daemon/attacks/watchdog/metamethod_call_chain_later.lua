-- tries: a __call that leads to itself, set up behind setmetatable's back; followed inside the VM,
--        where no hook runs, with every turn longer than the one before
-- ends: killed time
local t, mt = {}, {}
setmetatable(t, mt)
mt.__call = t
t()
