-- tries: captures that are compared again and again
-- ends: steps time
return ("a"):rep(20000):find("(.-)(.-)%1%2x")
