-- tries: to replace the error of the budget by one that pcall may catch
-- ends: steps time
while true do
  pcall(function()
    local guard <close> = setmetatable({}, {__close = function() error("something else") end})
    while true do end
  end)
end
