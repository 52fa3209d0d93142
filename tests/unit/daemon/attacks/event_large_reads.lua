-- tries: to have the value copied without end
-- ends: steps time memory
while true do local v = event.value .. event.key .. event.id end
