-- tries: to catch the end of the budget inside a match
-- ends: steps time
while true do pcall(string.find, ("a"):rep(30), ("a?"):rep(30) .. ("a"):rep(31)) end
