-- tries: text that is no JSON
-- ends: ok
for _, text in ipairs{"", " ", "{", "}", "[", "]", "[1", "[1,", "[,]", "{\"a\"", "{\"a\":", "{a:1}",
                      "{1:2}", "tru", "nul", "-", "01", "1.", ".5", "1e", "+1", "\"", "\"\\", "\"\\u",
                      "\"\\u12", "\"\\ud800\\u", "\"\1\"", "1 2", "[1]]", "\0", "NaN", "Infinity"} do
  assert(not pcall(cachee.json.decode, text), text)
end
