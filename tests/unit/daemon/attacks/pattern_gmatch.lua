-- tries: an iterator of expensive matches
-- ends: steps time
for _ in ("a"):rep(10000):gmatch(".-.-.-x") do end
