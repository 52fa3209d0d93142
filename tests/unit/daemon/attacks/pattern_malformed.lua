-- tries: patterns that end too early
-- ends: ok
for _, pattern in ipairs{"%", "[", "[a", "[^", "[%", "[a-", "%b", "%bx", "%f", "%f[", "(", "(()",
                         ")", "%1", "(%1)", "(a)%2", "[]", "[^]", "[a-%", "%f[%"} do
  local ok, message = pcall(string.find, "abc", pattern)
  assert(not ok or message == nil or type(message) == "number", pattern)
end
