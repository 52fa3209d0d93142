-- What Lua's own patterns do; runs under a plain Lua 5.4 as well.
local function same(got, ...)
  local n = select("#", ...)
  assert(got.n == n, "number of results: " .. got.n .. " instead of " .. n)
  for i = 1, n do
    local want = select(i, ...)
    assert(got[i] == want, "result " .. i .. ": " .. tostring(got[i]) .. " instead of " .. tostring(want))
  end
end
local function find(...) return table.pack(string.find(...)) end
local function match(...) return table.pack(string.match(...)) end
local function gsub(...) return table.pack(string.gsub(...)) end

same(find("", ""), 1, 0)
same(find("alo", ""), 1, 0)
same(find("alo", "", 4), 4, 3)
same(find("alo", "", 5), nil)
same(find("alo", "", -10), 1, 0)
same(find("a\0o a\0o a\0o", "a", 1), 1, 1)
same(find("a\0o a\0o a\0o", "a\0o", 2), 5, 7)
same(find("a\0a\0a\0a\0\0ab", "\0ab", 2), 9, 11)
same(find("a\0a\0a\0a\0\0ab", "b"), 11, 11)
same(find("a\0a\0a\0a\0\0ab", "b\0"), nil)
same(find("", "\0"), nil)
same(find("alo123alo", "12"), 4, 5)
same(find("alo123alo", "^12"), nil)
same(find("a.b.c", ".", 2, true), 2, 2)
same(find("a+b", "+", 1, true), 2, 2)
same(find("abc", "b", -1), nil)
same(find("abc", "b", -2), 2, 2)
same(match("aaab", ".*b"), "aaab")
same(match("aaa", ".*a"), "aaa")
same(match("aaa", ".*b"), nil)
same(match("aaab", ".+b"), "aaab")
same(match("aaa", ".+a"), "aaa")
same(match("aaa", ".-a"), "a")
same(match("aaab", ".-b"), "aaab")
same(match("aaa", "^.-$"), "aaa")
same(match("aabaaabaaabaaaba", "b.*b"), "baaabaaabaaab")
same(match("aabaaabaaabaaaba", "b.-b"), "baaab")
same(match("alo xo", ".o$"), "xo")
same(match(" \n isto é assim", "%S%S*"), "isto")
same(match(" \n isto é assim", "%S*$"), "assim")
same(match("um caracter ? extra", "[^%sa-z]"), "?")
same(match("", "a?"), "")
same(match("á", "\xc3?"), "\xc3")
same(match("ábl", "á?b?l?"), "ábl")
same(match("aa", "^aa?a?a"), "aa")
same(match("]]]áb", "[^]]"), "\xc3")
same(match("0alo alo", "%x*"), "0a")
same(match("alo alo", "%C+"), "alo alo")
same(match("alo", "()"), 1)
same(match("alo xyzK", "(%w+)K"), "xyz")
same(match("254 K", "(%d*)K"), "")
same(match("alo ", "(%w*)$"), "")
same(match("alo wo", "(%w+)$"), "wo")
same(match("alo alo", "^(((.).).* (%w*))$"), "alo alo", "al", "a", "alo")
same(match("0123456789", "(.+(.?)())"), "0123456789", "", 11)
same(match("  key = value ", "^%s*(%w+)%s*=%s*(%w+)%s*$"), "key", "value")
same(match("2024-01-31", "(%d+)-(%d+)-(%d+)"), "2024", "01", "31")
same(match("alo(.)alo", "%(%.%)"), "(.)")
same(match("abcabc", "(abc)%1"), "abc")
same(match('say "it\'s"', "([\"'])(.-)%1"), '"', "it's")
same(match("f(a(b)c)d", "%b()"), "(a(b)c)")
same(match("THE (quick) fox", "%((%a+)%)"), "quick")
same(find("THE (quick) fox", "%((%a+)%)"), 5, 11, "quick")
same(find("a\nb", "^b"), nil)
same(match("[a]", "[%[%]]"), "[")
same(match("a-b", "[a-]+"), "a-")
same(match("x^y", "[x^]+"), "x^")
same(match("a]b", "[]]"), "]")
same(match("abc123", "[a-c1-2]+"), "abc12")
same(match("\0\1\2", "[\0-\2]*"), "\0\1\2")
same(match("hello", "l+", 3), "ll")
same(match("hello", "^l", 3), "l")
same(match("a$b", "a$b"), "a$b")
same(match("a^b", "a^b"), "a^b")
same(match("äbc", "[^\x80-\xff]+"), "bc")

same(gsub("hello world", "o", "0"), "hell0 w0rld", 2)
same(gsub("hello world", "(o)", "<%1>", 1), "hell<o> world", 1)
same(gsub("hello", "", "-"), "-h-e-l-l-o-", 6)
same(gsub("hello", "l*", "x"), "xhxexox", 4)
same(gsub("abc", "%w", "%0%0"), "aabbcc", 3)
same(gsub("abc", "%w", "%%"), "%%%", 3)
same(gsub("hello world", "%w+", "%0 %0", 1), "hello hello world", 1)
same(gsub("alo $x$ and $y$", "%$(%w+)%$", {x = "1"}), "alo 1 and $y$", 2)
same(gsub("abc", "(a)(b)", function(a, b) return b .. a end), "bac", 1)
same(gsub("abc", ".", function() return false end), "abc", 3)
same(gsub("abc", "^a", "x"), "xbc", 1)
same(gsub("aaa", "^a", "x"), "xaa", 1)
same(gsub("abc d", "%s*$", "!"), "abc d!", 1)
same(gsub("abc", "b", 5), "a5c", 1)
same(gsub("abc", "x", "y"), "abc", 0)
same(gsub("abc", ".", "x", 0), "abc", 0)
same(gsub("abc", ".", "x", -1), "abc", 0)
same(gsub("um (dois) tres", "(%(%w+%))", string.upper), "um (DOIS) tres", 1)
same(gsub("first second word", "%f[%w]%w", string.upper), "First Second Word", 3)
same(gsub("a b cd", " *", "-"), "-a-b-c-d-", 5)
same(gsub("THE (quick) fox", "%f[%a]%a+%f[%A]", "x"), "x (x) x", 3)
same(gsub("abç d", "(.)", "%1@"), "a@b@\xc3@\xa7@ @d@", 6)

local words = {}
for word in ("one two  three"):gmatch("%a+") do words[#words + 1] = word end
assert(table.concat(words, ",") == "one,two,three")
local pairs_seen = {}
for k, v in ("a=1, b=2, c=3"):gmatch("(%w+)=(%w+)") do pairs_seen[#pairs_seen + 1] = k .. v end
assert(table.concat(pairs_seen, " ") == "a1 b2 c3")
local empty = 0
for _ in ("abc"):gmatch("") do empty = empty + 1 end
assert(empty == 4)
local positions = {}
for p in ("abc"):gmatch("()") do positions[#positions + 1] = p end
assert(table.concat(positions, ",") == "1,2,3,4")
local from = {}
for w in ("10 20 30"):gmatch("%d+", 4) do from[#from + 1] = w end
assert(table.concat(from, ",") == "20,30")
for _ in ("abc"):gmatch("x", 10) do assert(false) end
local carets = 0
for _ in ("^a^b"):gmatch("^%a") do carets = carets + 1 end
assert(carets == 2)

for _, pattern in ipairs{"[a", "[]", "[^]", "[a%]", "[a%", "%b", "%ba", "%", "%f"} do
  assert(not pcall(string.find, "a", pattern), pattern)
end
for _, pattern in ipairs{"(.", ".)", "%1", "(%1)"} do
  assert(not pcall(string.match, "a", pattern), pattern)
end
assert(not pcall(string.gsub, "alo", ".", "%2"))
assert(not pcall(string.gsub, "alo", "(.)", "%2"))
assert(not pcall(string.gsub, "alo", "(%1)", "a"))
assert(not pcall(string.gsub, "alo", "(%0)", "a"))
assert(not pcall(string.gsub, "alo", ".", "%x"))
assert(not pcall(string.gsub, "alo", ".", {a = {}}))
assert(not pcall(string.gsub, "alo", ".", function() return {} end))
assert(not pcall(string.gsub, "alo", "."))
assert(not pcall(string.rep))
