-- tries: numerals of a million digits
-- ends: ok error steps time
local ok = pcall(cachee.json.decode, ("9"):rep(1000000))
pcall(cachee.json.decode, "1e" .. ("9"):rep(1000000))
pcall(cachee.json.decode, "0." .. ("0"):rep(1000000) .. "1")
