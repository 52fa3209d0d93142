-- tries: memory by a long secret beside a long body
-- ends: error memory
local s = ("x"):rep(5 << 20)
cachee.webhook("http://h/", s, {secret = s})
