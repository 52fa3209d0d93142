// Goal: no effect that an executor sends can break a log file, a request or a URL.
// Method: tables of good and bad effects; mutated log lines, which are refused or stay one object
// on one line.
#include "store/effect_rules.hpp"

#include <cmath>
#include <random>

#include <nlohmann/json.hpp>

#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;

bool is_good(const Effect& effect) { return !check_effects({effect}).has_value(); }

TEST(EffectRules, ChannelsAreNamesOfFiles) {
  for (const char* good : {"a", "compliance", "A-b_c.9", "-"}) {
    EXPECT_TRUE(is_good(log_effect(good, "{}"))) << good;
  }
  for (const std::string& bad :
       {std::string{}, std::string(65, 'a'), std::string{".."}, std::string{".a"},
        std::string{"a/b"}, std::string{"a b"}, std::string{"a\0", 2}, std::string{"\xc3\xa4"}}) {
    EXPECT_FALSE(is_good(log_effect(bad, "{}"))) << bad;
  }
}

TEST(EffectRules, LogLinesAreOneObjectOnOneLine) {
  for (const char* good : {"{}", R"({"a":1})", R"({"a":{"b":[1,{"c":null}]}})", R"({ })"}) {
    EXPECT_TRUE(is_good(log_effect("c", good))) << good;
  }
  for (const std::string& bad :
       {std::string{}, std::string{"[]"}, std::string{"1"}, std::string{"{}\n"},
        std::string{"{\n}"}, std::string{"{\r}"}, std::string{"{}{}"}, std::string{R"({"a":})"},
        std::string{"{}["}, std::string{"{\"a\":\"\xff\"}"}, std::string{"{}\0", 3},
        std::string{" {}"}}) {
    EXPECT_FALSE(is_good(log_effect("c", bad))) << bad.substr(0, 40);
  }
}

std::string log_line(std::string_view object, std::string_view event_id) {
  std::string line;
  append_log_line(object, event_id, line);
  return line;
}

TEST(EffectRules, LogLineIsTheHandlersObjectAndTheEventsId) {
  EXPECT_EQ(log_line(R"({"key":"k","value":"11","limit":"10","timestamp":1700000000.25})", "5f-1"),
            "{\"key\":\"k\",\"value\":\"11\",\"limit\":\"10\",\"timestamp\":1700000000.25,"
            "\"_event\":\"5f-1\"}\n");
  EXPECT_EQ(log_line("{}", "5f-1"), "{\"_event\":\"5f-1\"}\n");
  EXPECT_EQ(log_line("{ }", "5f-1"), "{ \"_event\":\"5f-1\"}\n");
  EXPECT_EQ(log_line(R"({"a":{"_event":1}})", "5f-1"),
            "{\"a\":{\"_event\":1},\"_event\":\"5f-1\"}\n");
}

TEST(EffectRules, HandlersOwnEventFieldStays) {
  EXPECT_EQ(log_line(R"({"_event":"mine"})", "5f-1"), "{\"_event\":\"mine\"}\n");
}

TEST(EffectRules, MutatedLogLinesAreRefusedOrWhole) {
  std::mt19937_64 random{1};
  const std::string line = R"({"a":1,"b":"t\"x","c":[true,null,{"_event":"5"}],"d":1e5})";
  int good = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = line;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      constexpr std::string_view kBytes = "{}[]\",:\\\n 1ae\x80";
      text[random() % text.size()] = kBytes[random() % kBytes.size()];
    }
    if (!is_good(log_effect("c", text))) continue;
    ++good;
    const std::string written = log_line(text, "5f-1");
    EXPECT_EQ(written.find('\n'), written.size() - 1);
    const json parsed = json::parse(written);
    EXPECT_TRUE(parsed.is_object());
    EXPECT_TRUE(parsed.contains("_event"));
  }
  EXPECT_GT(good, 100);
}

TEST(EffectRules, DeeplyNestedLogLineIsNoHarm) {
  std::string line = "{\"a\":";
  line += std::string(200'000, '[') + std::string(200'000, ']') + "}";
  EXPECT_TRUE(is_good(log_effect("c", line)));
}

TEST(EffectRules, Urls) {
  for (const char* good : {"http://h", "https://h:8443/p?q#f", "http://u:p@h/", "http://[::1]:80/",
                           "http://127.0.0.1:9/x"}) {
    EXPECT_TRUE(is_good(webhook_effect(good))) << good;
    EXPECT_TRUE(is_good(warm_effect("k", good))) << good;
  }
  for (const std::string& bad :
       {std::string{}, std::string{"h"}, std::string{"ftp://h/"}, std::string{"file:///etc/passwd"},
        std::string{"http://"}, std::string{"http:///p"}, std::string{"http://h/a b"},
        std::string{"http://h/\r\nX: y"}, std::string{"http://h/\0", 10},
        std::string{"http://h/\xc3\xa4"}, "http://h/" + std::string(kEffectUrlBytesMax, 'a')}) {
    EXPECT_FALSE(is_good(webhook_effect(bad))) << bad.substr(0, 60);
    EXPECT_FALSE(is_good(warm_effect("k", bad))) << bad.substr(0, 60);
  }
}

TEST(EffectRules, HostsOfUrls) {
  const std::pair<const char*, const char*> cases[] = {
      {"http://Example.com/x", "example.com"},
      {"http://h:80/", "h"},
      {"https://h:443", "h"},
      {"https://h:80", "h:80"},
      {"http://h:", "h"},
      {"http://u:p@h:81?x", "h:81"},
      {"http://a@b@c/", "c"},
      {"http://h\\@x/", "h"},
      {"http://[::1]:8080/", "[::1]:8080"},
      {"gopher://h/", ""},
  };
  for (const auto& [url, host] : cases) EXPECT_EQ(url_host(url), host) << url;
}

TEST(EffectRules, Headers) {
  const auto with = [](std::string name, std::string value) {
    Effect effect = webhook_effect("http://h");
    effect.headers = {{std::move(name), std::move(value)}};
    return effect;
  };
  EXPECT_TRUE(is_good(with("X-Api-Key", "abc \t\xc3\xa4")));
  EXPECT_TRUE(is_good(with("Content-Type", "text/xml")));
  EXPECT_TRUE(is_good(with("Idempotency-Key", "mine")));
  EXPECT_TRUE(is_good(with("X", "")));
  for (const char* name : {"", "a b", "a:", "a\n", "h\xc3\xa4"})
    EXPECT_FALSE(is_good(with(name, "v")));
  for (const char* name : {"Host", "content-LENGTH", "Transfer-Encoding", "Connection", "Expect",
                           "Cachee-Signature", "cachee-event-id", "TE", "Upgrade"}) {
    EXPECT_FALSE(is_good(with(name, "v"))) << name;
  }
  EXPECT_FALSE(is_good(with("A", "x\r\nB: y")));
  EXPECT_FALSE(is_good(with("A", std::string(1, '\0'))));
  Effect many = webhook_effect("http://h");
  many.headers.assign(kEffectHeadersMax + 1, {"A", "b"});
  EXPECT_FALSE(is_good(many));
}

TEST(EffectRules, MethodsAndOptions) {
  Effect effect = webhook_effect("http://h");
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "QUERY"}) {
    effect.method = method;
    EXPECT_TRUE(is_good(effect)) << method;
  }
  for (const char* method : {"", "CONNECT", "TRACE", "GET\r\n", "A B"}) {
    effect.method = method;
    EXPECT_FALSE(is_good(effect)) << method;
  }
  EXPECT_FALSE(is_good(warm_effect(std::string(kKeyBytesMax + 1, 'k'), "http://h")));
  Effect warm = warm_effect("k", "http://h");
  warm.ttl_ms = 0;
  EXPECT_FALSE(is_good(warm));
  warm.ttl_ms = 1;
  EXPECT_TRUE(is_good(warm));
  for (const double cost : {0.0, -1.0, std::nan("")}) {
    warm.cost = cost;
    EXPECT_FALSE(is_good(warm));
  }
}

TEST(EffectRules, RefusalNamesTheCall) {
  EXPECT_NE(check_effects({log_effect("a b", "{}")})->find("cachee.log: \"a b\""),
            std::string::npos);
  EXPECT_NE(check_effects({webhook_effect("x")})->find("cachee.webhook: \"x\""), std::string::npos);
  EXPECT_NE(check_effects({warm_effect("k", "x")})->find("cachee.warm: \"x\""), std::string::npos);
  Effect other;  // kinds that the store does not keep are none of its business
  other.kind = EffectKind::incr;
  EXPECT_FALSE(check_effects({other}).has_value());
}

}  // namespace
}  // namespace cachee::daemon
