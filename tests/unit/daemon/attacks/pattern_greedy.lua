-- tries: greedy items behind each other
-- ends: steps time
return ("a"):rep(5000):match(".*.*.*.*.*.*x")
