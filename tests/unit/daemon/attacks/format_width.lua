-- tries: widths and precisions past their bounds
-- ends: ok
for _, f in ipairs{"%100d", "%.100f", "%999999999s", "%-------d", "%.f.f", "%", "%y", "%p", "%#q",
                   "%0.0.0d", "%1000000000000d", "%\0", "%5\0", "%n", "%ls", "%*d"} do
  pcall(string.format, f, 1, 1, 1)
end
assert(not pcall(string.format, "%p", {}))
assert(not pcall(string.format, "%n", 1))
assert(#string.format("%99.99f", -1e308) > 400)
