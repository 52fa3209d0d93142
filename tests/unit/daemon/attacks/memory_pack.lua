-- tries: string.pack with large sizes
-- ends: error
return string.pack(("c2000000000"):rep(100), "x")
