-- tries: sizes whose product wraps around
-- ends: error memory
return ("xxxxxxxx"):rep(math.maxinteger, "yyyyyyyy")
