// Goal: the `cachee` table does what interface.md promises: reads see the run's own writes, calls
// become effects with the right fields, errors read like Lua's.
// Method: scripts against a cache in memory; effects are decoded as the supervisor decodes them.
#include <gtest/gtest.h>

#include "unit/daemon/script_support.hpp"

namespace cachee::daemon::test {
namespace {

struct ScriptModule : testing::Test {
  ScriptWorld world{};
  ScriptModule() { world.cache.entries = {{"a", {"1", 60'000}}, {"text", {"abc", std::nullopt}}}; }
  /// The one effect of a script that must succeed.
  Effect effect_of(std::string_view source) {
    const RunResult result = world.run(source);
    EXPECT_TRUE(result.ok) << result.error;
    EXPECT_EQ(world.effects.size(), 1U);
    return world.effects.size() == 1 ? world.effects[0] : Effect{};
  }
  void expect_true(std::string_view source) {
    const RunResult result = world.run(source);
    EXPECT_TRUE(result.ok) << source << ": " << result.error;
  }
};

TEST_F(ScriptModule, ReadsTheCache) {
  expect_true("assert(cachee.get('a') == '1' and cachee.get('none') == nil)");
  expect_true("assert(cachee.exists('a') == true and cachee.exists('none') == false)");
  expect_true(
      "assert(cachee.ttl('a') == 60 and cachee.ttl('text') == -1 and cachee.ttl('none') == -2)");
  expect_true(
      "local r = cachee.mget{'a', 'none', 'text'} assert(#r == 3 and r[1] == '1' and r[2] == false "
      "and r[3] == 'abc')");
  expect_true("assert(#cachee.mget{} == 0)");
}

TEST_F(ScriptModule, ACacheThatCannotBeReadIsAnError) {
  world.cache.broken = true;
  EXPECT_EQ(world.error_of("cachee.get('a')"), "test:1: the cache cannot be read");
  EXPECT_EQ(world.error_of("cachee.exists('a')"), "test:1: the cache cannot be read");
}

TEST_F(ScriptModule, ReadsSeeTheRunsOwnWrites) {
  expect_true(R"(
    assert(cachee.set('a', '2') == true)
    assert(cachee.get('a') == '2' and cachee.ttl('a') == -1)
    assert(cachee.set('a', '3', {ttl = 5}) and cachee.ttl('a') == 5)
    assert(cachee.incr('a', 10) == 13 and cachee.get('a') == '13' and cachee.ttl('a') == 5)
    assert(cachee.expire('a', 7) == true and cachee.ttl('a') == 7 and cachee.get('a') == '13')
    assert(cachee.del('a') == true and cachee.get('a') == nil and cachee.del('a') == false)
    assert(cachee.exists('a') == false and cachee.ttl('a') == -2 and cachee.expire('a', 1) == false)
    assert(cachee.incr('a') == 1 and cachee.incr('a', -3) == -2 and cachee.ttl('a') == -1)
    assert(cachee.expire('text', 9) and cachee.get('text') == 'abc' and cachee.ttl('text') == 9)
    assert(cachee.expire('text', 0) and cachee.get('text') == nil)
    assert(cachee.invalidate('none') == false)
    assert(cachee.mget{'a', 'text'}[1] == '-2' and cachee.mget{'text'}[1] == false)
  )");
  EXPECT_EQ(world.effects.size(), 11U);
}

TEST_F(ScriptModule, IncrementKeepsTheTtlOfTheCache) {
  expect_true("assert(cachee.incr('a') == 2 and cachee.ttl('a') == 60)");
}

TEST_F(ScriptModule, TheCacheIsReadAnewInTheNextRun) {
  const auto script = world.load("assert(cachee.get('a') == '1') cachee.set('a', 'mine')");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(world.run(*script).ok);
}

TEST_F(ScriptModule, SetCarriesItsOptions) {
  Effect effect = effect_of(
      "cachee.set('k', 'v', {ttl = 1.5, cost = 3, metadata = {user = '42', n = 7}, "
      "depends_on = {'p', 'q'}, nx = true})");
  EXPECT_EQ(effect.kind, EffectKind::set);
  EXPECT_EQ(effect.ttl_ms, 1500);
  EXPECT_EQ(effect.cost, 3.0);
  EXPECT_EQ(effect.metadata, (Metadata{{"n", "7"}, {"user", "42"}}));
  EXPECT_EQ(effect.depends_on, (std::vector<std::string>{"p", "q"}));
  EXPECT_TRUE(effect.only_absent);
  effect = effect_of("cachee.set('k', 12, {ttl = '250ms', depends_on = 'p'})");
  EXPECT_EQ(effect.value, "12");
  EXPECT_EQ(effect.ttl_ms, 250);
  EXPECT_EQ(effect.depends_on, std::vector<std::string>{"p"});
  EXPECT_EQ(effect_of("cachee.set('k', '', {ttl = 0.0001})").ttl_ms, 1);
}

TEST_F(ScriptModule, SetWithAConditionThatDoesNotHoldDoesNothing) {
  expect_true("assert(cachee.set('a', 'x', {nx = true}) == false and cachee.get('a') == '1')");
  EXPECT_TRUE(world.effects.empty());
  expect_true("assert(cachee.set('none', 'x', {xx = true}) == false)");
  EXPECT_TRUE(world.effects.empty());
  expect_true("assert(cachee.set('a', 'x', {xx = true}) and cachee.set('none', 'x', {nx = true}))");
  EXPECT_EQ(world.effects.size(), 2U);
}

TEST_F(ScriptModule, LogWritesItsKeysInOrder) {
  const Effect effect =
      effect_of("cachee.log('compliance', {value = event.value, key = event.key, b = 2, a = {1}})");
  EXPECT_EQ(effect.kind, EffectKind::log);
  EXPECT_EQ(effect.key, "compliance");
  EXPECT_EQ(effect.value, R"({"a":[1],"b":2,"key":"session:42","value":"new"})");
}

TEST_F(ScriptModule, WebhookCarriesBodyAndOptions) {
  Effect effect = effect_of(
      "cachee.webhook('https://auth/x', {user = event.metadata.user}, {method = 'PUT', "
      "headers = {['X-B'] = '2', ['X-A'] = '1'}, secret = 's', timeout = 2.5})");
  EXPECT_EQ(effect.url, "https://auth/x");
  EXPECT_EQ(effect.value, R"({"user":"42"})");
  EXPECT_EQ(effect.method, "PUT");
  EXPECT_EQ(effect.secret, "s");
  EXPECT_EQ(effect.timeout_ms, 2500U);
  EXPECT_EQ(effect.headers,
            (Metadata{{"X-A", "1"}, {"X-B", "2"}, {"Content-Type", "application/json"}}));
  effect = effect_of("cachee.webhook('http://auth/', 'raw body')");
  EXPECT_EQ(effect.method, "POST");
  EXPECT_EQ(effect.value, "raw body");
  EXPECT_TRUE(effect.headers.empty());
  effect = effect_of("cachee.webhook('http://auth/', {}, {headers = {['content-type'] = 'x'}})");
  EXPECT_EQ(effect.headers, (Metadata{{"content-type", "x"}}));
  EXPECT_EQ(effect_of("cachee.webhook('http://auth/')").value, "");
}

TEST_F(ScriptModule, TheOtherCallsBecomeEffects) {
  Effect effect =
      effect_of("cachee.warm('page', 'http://h/p', {ttl = '1m', cost = 2, headers = {A = 'b'}})");
  EXPECT_EQ(effect.kind, EffectKind::warm);
  EXPECT_EQ(effect.key, "page");
  EXPECT_EQ(effect.ttl_ms, 60'000);
  EXPECT_EQ(effect.headers, (Metadata{{"A", "b"}}));
  effect = effect_of("cachee.depends_on('c', 'p', 'q')");
  EXPECT_EQ(effect.kind, EffectKind::depends_on);
  EXPECT_EQ(effect.depends_on, (std::vector<std::string>{"p", "q"}));
  effect = effect_of("cachee.metric('requests.total', 2)");
  EXPECT_EQ(effect.kind, EffectKind::metric);
  EXPECT_EQ(effect.amount, 2.0);
  EXPECT_EQ(effect_of("cachee.metric('m')").amount, 1.0);
  EXPECT_EQ(effect_of("cachee.expire('a', '1h')").ttl_ms, 3'600'000);
  EXPECT_EQ(effect_of("cachee.invalidate('a')").kind, EffectKind::invalidate);
}

TEST_F(ScriptModule, OnceIsTrueOnce) {
  const Effect effect = effect_of("assert(cachee.once('id', 60) and not cachee.once('id', 60))");
  EXPECT_EQ(effect.kind, EffectKind::once);
  EXPECT_EQ(effect.key, "id");
  EXPECT_EQ(effect.ttl_ms, 60'000);
  world.cache.entries["cachee.once:id"] = {"1", 1000};
  expect_true("assert(cachee.once('id', 60) == false)");
  EXPECT_TRUE(world.effects.empty());
  // What another attempt at this event had claimed and a crash kept from its end is its own.
  world.cache.entries["cachee.once:id"] = {effect.value, 1000};
  expect_true("assert(cachee.once('id', 60) and not cachee.once('id', 60))");
  world.cache.entries["cachee.once:id"] = {effect.value + "1", 1000};
  expect_true("assert(cachee.once('id', 60) == false)");
}

TEST_F(ScriptModule, HashIsFnv1a) {
  EXPECT_EQ(world.eval("string.format('%x', cachee.hash(''))"), "cbf29ce484222325");
  EXPECT_EQ(world.eval("string.format('%x', cachee.hash('a'))"), "af63dc4c8601ec8c");
  EXPECT_EQ(world.eval("math.type(cachee.hash('foobar'))"), "integer");
}

TEST_F(ScriptModule, NowIsUnixSeconds) {
  const double now = std::stod(world.eval("cachee.now()"));
  EXPECT_NEAR(now, static_cast<double>(time(nullptr)), 5.0);
}

TEST_F(ScriptModule, ArgumentErrorsReadLikeLuas) {
  EXPECT_EQ(world.error_of("cachee.set()"),
            "test:1: bad argument #1 to 'set' (string expected, got no value)");
  EXPECT_EQ(world.error_of("cachee.set('k', {})"),
            "test:1: bad argument #2 to 'set' (string expected, got table)");
  EXPECT_EQ(world.error_of("cachee.set('k', 'v', {tll = 5})"),
            "test:1: bad argument #3 to 'set' (there is no option 'tll')");
  EXPECT_EQ(
      world.error_of("cachee.set('k', 'v', {ttl = 0})"),
      "test:1: bad option 'ttl' (seconds above zero, or a duration such as '250ms' expected)");
  EXPECT_EQ(world.error_of("cachee.log('a/b', {})"),
            "test:1: bad argument #1 to 'log' (a channel is 1 to 64 of A-Z a-z 0-9 _ . - and does "
            "not begin with '.')");
  EXPECT_EQ(world.error_of("cachee.log('c', 'text')"),
            "test:1: bad argument #2 to 'log' (table expected, got string)");
  EXPECT_EQ(world.error_of("cachee.incr('text')"),
            "test:1: value is not an integer or out of range");
  EXPECT_EQ(world.error_of("cachee.set('n', '9223372036854775807') cachee.incr('n')"),
            "test:1: increment or decrement would overflow");
  EXPECT_EQ(world.error_of("cachee.webhook('ftp://h', {})"),
            "test:1: bad argument #1 to 'webhook' (an http:// or https:// URL of at most 8192 "
            "bytes expected)");
}

TEST_F(ScriptModule, EffectsOfOneRunAreBounded) {
  expect_true("for i = 1, 1000 do cachee.set('k', 'v') end");
  EXPECT_EQ(world.effects.size(), kEffectsMax);
  EXPECT_EQ(world.error_of("for i = 1, 1001 do cachee.set('k', 'v') end"),
            "test:1: more than 1000 effects in one run");
  world.limits.memory_bytes = std::uint64_t{64} << 20;
  world.limits.timeout_ms = 5000;
  EXPECT_EQ(world.error_of("local s = ('x'):rep(3 << 20) for i = 1, 3 do cachee.set('k', s) end"),
            "test:1: effects of one run take more than 8 MiB");
  expect_true(
      "local s = ('x'):rep(3 << 20) cachee.set('k', s) cachee.set('k', s) "
      "assert(not pcall(cachee.set, 'k', s)) cachee.set('small', 'v')");
  EXPECT_EQ(world.effects.size(), 3U);
}

TEST_F(ScriptModule, BufferedEffectsCountAgainstTheMemoryOfTheRun) {
  world.limits.memory_bytes = std::uint64_t{64} << 10;
  world.limits.timeout_ms = 5000;
  // A limit like any other: pcall does not keep it.
  RunResult result = world.run("local s = ('x'):rep(8000) for i = 1, 900 do pcall(cachee.set, 'k' .. i, s) end");
  EXPECT_EQ(result.exceeded, Limit::memory) << result.error;
  EXPECT_TRUE(result.effects.empty());
  EXPECT_LE(result.memory_peak, world.limits.memory_bytes);
  result = world.run("for i = 1, 900 do cachee.once(i .. ('k'):rep(100)) end");
  EXPECT_EQ(result.exceeded, Limit::memory) << result.error;

  world.limits.memory_bytes = std::uint64_t{16} << 20;
  const std::string large = "local s = ('x'):rep(1 << 20) for i = 1, 6 do cachee.set('k' .. i, s) end";
  result = world.run(large);
  EXPECT_TRUE(result.ok) << result.error;
  EXPECT_GE(result.memory_peak, std::uint64_t{7} << 20);
}

TEST_F(ScriptModule, MemoryOfOneRunIsGivenBackToTheNext) {
  world.limits.memory_bytes = std::uint64_t{4} << 20;
  const auto script = world.load(
      "local s = ('x'):rep(600000) cachee.set('k', s) assert(cachee.get('k') == s) cachee.del('k')\n"
      "cachee.webhook('http://h/', s, {secret = s:sub(1, 1000), headers = {A = s:sub(1, 8000)}})");
  ASSERT_TRUE(script) << world.load_error;
  for (int i = 0; i < 20; ++i) {
    const RunResult result = world.run(*script);
    ASSERT_TRUE(result.ok) << i << ": " << result.error;
    ASSERT_EQ(world.effects.size(), 3U);
    ASSERT_EQ(world.effects[1].kind, EffectKind::del);
  }
}

TEST_F(ScriptModule, AValueLargerThanTheMemoryIsNotRead) {
  world.cache.entries["large"] = {.value = std::string(std::size_t{2} << 20, 'v')};
  world.limits.memory_bytes = std::uint64_t{1} << 20;
  const RunResult result = world.run("pcall(cachee.get, 'large')");
  EXPECT_EQ(result.exceeded, Limit::memory) << result.error;
  EXPECT_LE(result.memory_peak, world.limits.memory_bytes);
  world.limits.memory_bytes = std::uint64_t{5} << 20;
  expect_true("assert(#cachee.get('large') == 2 << 20)");
}

TEST_F(ScriptModule, OptionsAreMeasuredBeforeTheyAreCopied) {
  const std::string text = "local s = ('x'):rep(7 << 20) local t = {} for i = 1, 64 do t['f' .. i] = s end ";
  EXPECT_EQ(world.error_of(text + "cachee.set('k', 'v', {metadata = t})"),
            "test:1: bad option 'metadata' (a table with 64 fields or fewer, of 65536 bytes in all expected)");
  EXPECT_EQ(world.error_of(text + "cachee.warm('k', 'http://h/', {headers = t})"),
            "test:1: bad option 'headers' (a table with 64 headers or fewer, of 65536 bytes in all expected)");
  EXPECT_EQ(world.error_of(text + "cachee.set('k', 'v', {depends_on = s})"),
            "test:1: bad option 'depends_on' (a key or a list of keys, of 65536 bytes in all expected)");
  EXPECT_EQ(world.error_of(text + "cachee.set('k', 'v', {depends_on = {'a', s}})"),
            "test:1: bad option 'depends_on' (a key or a list of keys, of 65536 bytes in all expected)");
  expect_true("cachee.set('k', 'v', {metadata = {a = ('x'):rep(65535)}})");
  expect_true("cachee.webhook('http://h/', '', {headers = {A = ('x'):rep(8192)}})");
}

TEST_F(ScriptModule, JsonEncodes) {
  const auto encode = [&](const std::string& value) {
    return world.eval("cachee.json.encode(" + value + ")");
  };
  EXPECT_EQ(encode("{}"), "{}");
  EXPECT_EQ(encode("{1, 2.5, 'x', true, false, {}}"), R"([1,2.5,"x",true,false,{}])");
  EXPECT_EQ(encode("{1.0, 1e100, -0.0, 0.1, 1e15}"), R"([1.0,1e+100,-0.0,0.1,1e+15])");
  EXPECT_EQ(encode("{math.maxinteger, math.mininteger}"),
            "[9223372036854775807,-9223372036854775808]");
  EXPECT_EQ(encode("{[1] = 'a', [3] = 'c'}"), R"({"1":"a","3":"c"})");
  EXPECT_EQ(encode("{[10] = 1, [9] = 2, x = 3, [-1] = 4}"), R"({"-1":4,"9":2,"10":1,"x":3})");
  EXPECT_EQ(encode("{a = cachee.json.null}"), R"({"a":null})");
  EXPECT_EQ(encode("'q\"b\\\\ \\n\\t\\1\\127'"), "\"q\\\"b\\\\ \\n\\t\\u0001\x7f\"");
  EXPECT_EQ(encode("'h\\xc3\\xa4 \\u{1F600}'"), "\"h\xc3\xa4 \xf0\x9f\x98\x80\"");
  EXPECT_EQ(encode("'\\xff a\\xc3'"), "\"\xef\xbf\xbd a\xef\xbf\xbd\"");
  EXPECT_EQ(encode("'\\xed\\xa0\\x80'"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(encode("nil"), "null");
  const auto error = [&](const std::string& value) {
    return world.error_of("return cachee.json.encode(" + value + ")");
  };
  EXPECT_EQ(error("0/0"), "test:1: cannot encode -nan as JSON");
  EXPECT_EQ(error("{math.huge}"), "test:1: cannot encode inf as JSON");
  EXPECT_EQ(error("{print = pairs}"), "test:1: cannot encode a function as JSON");
  EXPECT_EQ(error("{[true] = 1}"), "test:1: cannot encode a table with a boolean as key");
  EXPECT_EQ(error("{[1] = 1, ['1'] = 2}"),
            "test:1: cannot encode a table that has 1 as a number and as a string");
}

TEST_F(ScriptModule, JsonDecodes) {
  const auto decode = [&](const std::string& text, const std::string& path) {
    return world.eval("cachee.json.decode([==[" + text + "]==])" + path);
  };
  EXPECT_EQ(decode(R"({"a": [1, 2.0, -3e2, {"b": "c"}], "n": null})", ".a[4].b"), "c");
  EXPECT_EQ(decode("[1, 2.0, -3e2]", "[2]"), "2.0");
  EXPECT_EQ(decode("[9223372036854775807]", "[1]"), "9223372036854775807");
  EXPECT_EQ(decode("[9223372036854775808]", "[1]"), "9.2233720368548e+18");
  EXPECT_EQ(decode("[-0]", "[1]"), "0");
  EXPECT_EQ(decode(R"(["\u00e4\ud83d\ude00\n\/"])", "[1]"), "\xc3\xa4\xf0\x9f\x98\x80\n/");
  EXPECT_EQ(decode(R"(["\ud800x"])", "[1]"), "\xef\xbf\xbdx");
  EXPECT_EQ(decode("[null, 2]", "[2]"), "2");
  EXPECT_EQ(decode("[null]", "[1] == nil"), "true");
  EXPECT_EQ(decode(R"({"a":1,"a":2})", ".a"), "2");
  EXPECT_EQ(decode(" true ", ""), "true");
  EXPECT_EQ(world.error_of("cachee.json.decode('[1,]')"),
            "test:1: not JSON: a value expected at byte 4");
  EXPECT_EQ(world.error_of("cachee.json.decode('[1')"),
            "test:1: not JSON: ',' or ']' expected at byte 3");
}

}  // namespace
}  // namespace cachee::daemon::test
