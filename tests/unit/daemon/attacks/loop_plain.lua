-- tries: never to return
-- ends: steps time
while true do end
