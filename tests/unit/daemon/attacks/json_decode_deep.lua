-- tries: text nested without end
-- ends: error
return cachee.json.decode(("["):rep(1000000))
