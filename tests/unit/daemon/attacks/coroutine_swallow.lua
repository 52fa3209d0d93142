-- tries: to hide from the budget in a coroutine
-- ends: error
coroutine.wrap(function() while true do end end)()
