-- tries: an error in the handler of an error in the handler of an error
-- ends: ok error
xpcall(error, function() error("again") end)
xpcall(function() local x = nil; return x.y end, function(m) return m.a.b.c end)
