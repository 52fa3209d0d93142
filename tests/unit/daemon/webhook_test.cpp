// Goal: what is in the outbox reaches its receiver, at least once, in time and with the right
// words; what cannot is given up with the reason; nothing reaches what the settings forbid. Method:
// real HTTP servers on loopback that answer as scripted, a real store, kill -9 of a sender.
#include "webhook/sender.hpp"

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <map>
#include <set>

#include <fmt/format.h>
#include <netdb.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/http_server.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"
#include "webhook/address.hpp"
#include "webhook/request.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;
using test::HttpAnswer;
using test::HttpRequest;
using test::HttpServer;
using test::TempDirectory;
using End = HttpAnswer::End;

std::int64_t wall_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Loopback allowed, and little patience.
SenderSettings quick_settings() {
  return {.timeout_ms = 5000, .backoff_min_ms = 2, .backoff_max_ms = 20, .allow_private = true};
}

class SenderTest : public testing::Test {
 protected:
  void SetUp() override { store_ = open_store(state_.path()); }

  void start(const SenderSettings& settings = quick_settings(), WarmSink sink = {}) {
    auto sender = Sender::make({.directory = state_.path()}, settings, std::move(sink));
    ASSERT_TRUE(sender) << sender.failure().text;
    sender_ = std::move(*sender);
    sender_->start();
  }
  void add(std::uint64_t seq, const std::vector<Effect>& effects) {
    ASSERT_TRUE(add_effects(*store_, seq, effects, "session:*@ON_EXPIRE", wall_now_ms()));
    if (sender_) sender_->wake();
  }
  template <class Condition>
  [[nodiscard]] bool eventually(Condition&& condition, std::chrono::milliseconds patience = 30s) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(2ms);
    }
    return true;
  }
  [[nodiscard]] bool outbox_empties() {
    return eventually([&] { return (*store_->list_outbox(1)).empty(); });
  }
  [[nodiscard]] std::vector<DeadLetter> dead_letters(std::size_t count) {
    EXPECT_TRUE(eventually([&] { return (*store_->list_dead(100)).size() >= count; }));
    return *store_->list_dead(100);
  }

  TempDirectory state_{TempDirectory::kMemory};
  std::unique_ptr<Store> store_{};
  std::unique_ptr<Sender> sender_{};
};

TEST_F(SenderTest, WebhookCarriesItsEventAndItsSignature) {
  HttpServer server;
  Effect effect = webhook_effect(server.url("/hook?x=1"), R"({"user":"42"})");
  effect.secret = "s3cret";
  effect.headers = {{"Content-Type", "application/json"}, {"X-Api-Key", "k"}, {"X-Empty", ""}};
  start();
  add(41, {effect});
  ASSERT_TRUE(server.wait_for(1));
  ASSERT_TRUE(outbox_empties());
  const HttpRequest request = server.requests().front();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/hook?x=1");
  EXPECT_EQ(request.body, R"({"user":"42"})");
  EXPECT_EQ(request.header("content-type"), "application/json");
  EXPECT_EQ(request.header("x-api-key"), "k");
  EXPECT_TRUE(request.has_header("x-empty"));
  EXPECT_EQ(request.header("cachee-event-id"), event_id(41));
  EXPECT_EQ(request.header("cachee-trigger"), "session:*@ON_EXPIRE");
  EXPECT_TRUE(request.header("idempotency-key").starts_with(event_id(41) + "-"));
  const std::string timestamp = request.header("cachee-timestamp");
  EXPECT_LT(std::abs(std::stoll(timestamp) - static_cast<long long>(std::time(nullptr))), 10);
  EXPECT_EQ(request.header("cachee-signature"), signature("s3cret", timestamp, request.body));
  EXPECT_TRUE(request.header("user-agent").starts_with("cacheed/"));
  EXPECT_FALSE(request.has_header("expect"));
  EXPECT_TRUE(eventually([&] { return sender_->counters().sent == 1; }));
  expect_sound(*store_);
}

TEST_F(SenderTest, MethodsAndContentTypes) {
  HttpServer server;
  struct Case {
    const char* method;
    const char* body;
    const char* type;
  };
  const Case cases[] = {{"POST", "[1,2]", "application/json"},
                        {"PUT", "plain words", "text/plain; charset=utf-8"},
                        {"PATCH", "{broken", "text/plain; charset=utf-8"},
                        {"DELETE", "{}", "application/json"},
                        {"GET", "", ""},
                        {"HEAD", "", ""},
                        {"POST", "", ""}};
  start();
  std::uint64_t seq = 0;
  for (const Case& expected : cases) {
    Effect effect = webhook_effect(server.url("/" + std::to_string(seq)), expected.body);
    effect.method = expected.method;
    add(seq++, {effect});
  }
  ASSERT_TRUE(server.wait_for(std::size(cases)));
  ASSERT_TRUE(outbox_empties());
  for (const HttpRequest& request : server.requests()) {
    const Case& expected = cases[std::stoul(request.target.substr(1))];
    EXPECT_EQ(request.method, expected.method);
    EXPECT_EQ(request.body, expected.body);
    if (*expected.body != '\0') {
      EXPECT_EQ(request.header("content-type"), expected.type);
    }
    EXPECT_FALSE(request.has_header("cachee-signature"));
  }
}

TEST_F(SenderTest, FailuresAreTriedAgainWithTheSameKey) {
  HttpServer server{[](const HttpRequest& request) {
    constexpr int kStatuses[] = {0, 500, 503, 429, 408, 200};  // 0: reset
    HttpAnswer answer;
    answer.status = kStatuses[std::min<std::size_t>(request.index, 5)];
    if (answer.status == 0) answer.end = End::reset;
    return answer;
  }};
  start();
  add(1, {webhook_effect(server.url())});
  ASSERT_TRUE(server.wait_for(6));
  ASSERT_TRUE(outbox_empties());
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 6u);
  for (const HttpRequest& request : requests) {
    EXPECT_EQ(request.header("idempotency-key"), requests[0].header("idempotency-key"));
    EXPECT_EQ(request.body, requests[0].body);
  }
  EXPECT_EQ(sender_->counters().retried, 5u);
  EXPECT_TRUE((*store_->list_dead(10)).empty());
}

TEST_F(SenderTest, EveryEffectHasAKeyOfItsOwn) {
  HttpServer server;
  start();
  add(1, {webhook_effect(server.url()), webhook_effect(server.url())});
  add(2, {webhook_effect(server.url())});
  ASSERT_TRUE(server.wait_for(3));
  std::set<std::string> keys;
  for (const HttpRequest& request : server.requests())
    keys.insert(request.header("idempotency-key"));
  EXPECT_EQ(keys.size(), 3u);
}

TEST_F(SenderTest, RefusalIsADeadLetterAtOnce) {
  HttpServer server{[](const HttpRequest& request) {
    HttpAnswer answer;
    answer.status = request.target == "/moved" ? 302 : 404;
    if (answer.status == 302) answer.headers = {{"Location", "/elsewhere"}};
    return answer;
  }};
  start();
  add(1, {webhook_effect(server.url("/gone"), "{\"b\":1}"), webhook_effect(server.url("/moved"))});
  const auto letters = dead_letters(2);
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_EQ(server.requests().size(), 2u);
  std::map<std::string, std::string> errors;
  for (const DeadLetter& letter : letters) errors[letter.url] = letter.error;
  EXPECT_EQ(errors[server.url("/gone")], "HTTP status 404");
  EXPECT_EQ(errors[server.url("/moved")], "HTTP status 302 (redirects are not followed)");
  expect_sound(*store_);
  // An operator who has mended the receiver replays it.
  EXPECT_EQ(*store_->replay_dead(letters[0].id, wall_now_ms()), 1u);
  sender_->wake();
  EXPECT_TRUE(server.wait_for(3));
}

TEST_F(SenderTest, RedirectsLeadNowhere) {
  HttpServer inside;
  HttpServer outside{[&](const HttpRequest& request) {
    HttpAnswer answer;
    answer.status = std::stoi(request.target.substr(1));
    answer.headers = {{"Location", inside.url("/secret")}};
    return answer;
  }};
  std::vector<Effect> effects;
  for (const char* status : {"/301", "/302", "/303", "/307", "/308"}) {
    effects.push_back(webhook_effect(outside.url(status)));
    effects.push_back(warm_effect("k", outside.url(status)));
  }
  start();
  add(1, effects);
  const auto letters = dead_letters(effects.size());
  ASSERT_EQ(letters.size(), effects.size());
  for (const DeadLetter& letter : letters) {
    EXPECT_TRUE(letter.error.ends_with(" (redirects are not followed)")) << letter.error;
  }
  EXPECT_EQ(outside.requests().size(), effects.size());
  EXPECT_EQ(inside.connections(), 0u);
}

TEST_F(SenderTest, RequestsAndQueueAreMeasured) {
  HttpServer server{[](const HttpRequest& request) {
    return HttpAnswer{.status = request.index == 0 ? 503 : 200, .delay = 30ms};
  }};
  SenderSettings settings = quick_settings();
  settings.concurrency_per_host = 1;
  add(1, std::vector<Effect>(4, webhook_effect(server.url())));
  start(settings);
  ASSERT_TRUE(eventually(
      [&] { return sender_->counters().rows == 4; }));  // as it was before the first request ended
  ASSERT_TRUE(outbox_empties());
  ASSERT_TRUE(eventually([&] { return sender_->counters().rows == 0; }));
  const SenderCounters counters = sender_->counters();
  EXPECT_EQ(counters.request_us.count(), 5u);
  EXPECT_GE(counters.request_us.sum(), 5u * 30'000);
  EXPECT_EQ(counters.delivery_ms.count(), 4u);
  EXPECT_GE(counters.delivery_ms.max(), 4u * 30);
  EXPECT_EQ(counters.overdue_ms, 0u);
  const OutboxQueue empty = *store_->outbox_queue(wall_now_ms());
  EXPECT_EQ(empty.rows + empty.overdue_ms, 0u);
  sender_->stop(0ms);
  ASSERT_TRUE(add_effects(*store_, 2, {webhook_effect(server.url()), webhook_effect(server.url())},
                          "t", wall_now_ms()));
  const OutboxQueue waiting = *store_->outbox_queue(wall_now_ms() + 60'000);
  EXPECT_EQ(waiting.rows, 2u);
  EXPECT_GE(waiting.overdue_ms, 59'000u);
  EXPECT_LE(waiting.overdue_ms, 61'000u + 60'000u);
}

TEST_F(SenderTest, UnreachableReceiverIsGivenUpAfterTheLastAttempt) {
  SenderSettings settings = quick_settings();
  settings.attempts_max = 3;
  start(settings);
  add(1, {webhook_effect(fmt::format("http://127.0.0.1:{}/", test::closed_port()))});
  const auto letters = dead_letters(1);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].attempts, 3u);
  EXPECT_TRUE(letters[0].error.starts_with("given up after 3 attempts: ")) << letters[0].error;
  EXPECT_EQ(sender_->counters().retried, 2u);
  EXPECT_EQ(sender_->counters().dead, 1u);
}

TEST_F(SenderTest, WaitsBetweenAttemptsGrow) {
  SenderSettings settings = quick_settings();
  settings.backoff_min_ms = 40;
  settings.backoff_max_ms = 10'000;
  HttpServer server{[](const HttpRequest& request) {
    return HttpAnswer{.status = request.index < 4 ? 500 : 200};
  }};
  start(settings);
  add(1, {webhook_effect(server.url())});
  ASSERT_TRUE(server.wait_for(5));
  const auto requests = server.requests();
  for (std::size_t i = 1; i < 5; ++i) {
    const auto waited = requests[i].at - requests[i - 1].at;
    const auto whole = std::chrono::milliseconds{40 << (i - 1)};
    EXPECT_GE(waited, whole / 2 - 2ms) << i;
  }
}

TEST_F(SenderTest, RetryAfterIsHonoured) {
  HttpServer server{[](const HttpRequest& request) {
    HttpAnswer answer;
    if (request.index >= 2) return answer;
    answer.status = request.target == "/seconds" ? 429 : 503;
    std::string value = "1";
    if (request.target == "/date") {
      const std::time_t at = std::time(nullptr) + 2;
      char text[64];
      std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&at));
      value = text;
    }
    answer.headers = {{"Retry-After", value}};
    return answer;
  }};
  start();
  add(1, {webhook_effect(server.url("/seconds")), webhook_effect(server.url("/date"))});
  ASSERT_TRUE(server.wait_for(4));
  std::map<std::string, std::vector<std::chrono::steady_clock::time_point>> at;
  for (const HttpRequest& request : server.requests()) at[request.target].push_back(request.at);
  EXPECT_GE(at["/seconds"][1] - at["/seconds"][0], 950ms);
  EXPECT_GE(at["/date"][1] - at["/date"][0], 900ms);  // two seconds, cut to whole ones
}

TEST_F(SenderTest, SilentReceiverIsLeftAfterTheTimeout) {
  HttpServer server{[](const HttpRequest& request) {
    return HttpAnswer{.end = request.index == 0 ? End::silence : End::keep_alive};
  }};
  start();
  Effect patient = webhook_effect(server.url());
  patient.timeout_ms = 200;
  add(1, {patient});
  ASSERT_TRUE(server.wait_for(2));
  ASSERT_TRUE(outbox_empties());
  EXPECT_GE(sender_->counters().retried, 1u);
}

TEST_F(SenderTest, AnswerThatIsHugeOrCutOffCountsByItsStatus) {
  HttpServer server{[](const HttpRequest& request) {
    if (request.target == "/huge") return HttpAnswer{.body = std::string(3 << 20, 'x')};
    return HttpAnswer{.body = "partial", .end = End::truncate};
  }};
  start();
  add(1, {webhook_effect(server.url("/huge")), webhook_effect(server.url("/cut"))});
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(server.requests().size(), 2u);
  EXPECT_TRUE(eventually([&] { return sender_->counters().sent == 2; }));
}

TEST_F(SenderTest, OneHostGetsNoMoreThanItsShare) {
  HttpServer server{[](const HttpRequest& request) {
    return HttpAnswer{.delay = request.index < 3 ? 300ms : 5ms};
  }};
  SenderSettings settings = quick_settings();
  settings.concurrency_per_host = 3;
  std::vector<Effect> effects(12, webhook_effect(server.url()));
  start(settings);
  add(1, effects);
  ASSERT_TRUE(server.wait_for(12));
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(server.concurrent_max(), 3u);
  EXPECT_EQ(server.requests().size(), 12u);
}

TEST_F(SenderTest, AllHostsTogetherStayUnderTheTotal) {
  HttpServer server{[](const HttpRequest& request) {
    return HttpAnswer{.delay = request.index < 2 ? 300ms : 5ms};
  }};
  SenderSettings settings = quick_settings();
  settings.concurrency = 2;
  std::vector<Effect> effects;
  for (const char* host : {"127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost"}) {
    effects.insert(effects.end(), 2, webhook_effect(server.url("/", host)));
  }
  start(settings);
  add(1, effects);
  ASSERT_TRUE(server.wait_for(10));
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(server.concurrent_max(), 2u);
}

TEST_F(SenderTest, SilentHostDoesNotHoldUpAnother) {
  HttpServer silent{[](const HttpRequest&) { return HttpAnswer{.end = End::silence}; }};
  HttpServer lively;
  start();
  add(1, std::vector<Effect>(50, webhook_effect(silent.url())));
  ASSERT_TRUE(silent.wait_for(4));
  add(2, std::vector<Effect>(20, webhook_effect(lively.url())));
  EXPECT_TRUE(lively.wait_for(20));
  EXPECT_EQ(silent.requests().size(), 4u);
  sender_->stop(0ms);
}

TEST_F(SenderTest, ConnectionsAreKept) {
  HttpServer server;
  SenderSettings settings = quick_settings();
  settings.concurrency_per_host = 1;
  start(settings);
  add(1, std::vector<Effect>(30, webhook_effect(server.url())));
  ASSERT_TRUE(server.wait_for(30));
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(SenderTest, PrivateAddressesAreRefusedUnlessAllowed) {
  HttpServer server;
  SenderSettings settings = quick_settings();
  settings.allow_private = SenderSettings{}.allow_private;
  ASSERT_FALSE(settings.allow_private);  // the default
  const std::string port = ":" + std::to_string(server.port()) + "/";
  const std::vector<std::string> disguises = {"http://127.0.0.1" + port,
                                              "http://localhost" + port,
                                              "http://2130706433" + port,
                                              "http://0x7f.1" + port,
                                              "http://0177.0.0.1" + port,
                                              "http://[::ffff:127.0.0.1]" + port,
                                              "http://0.0.0.0" + port,
                                              "http://[::1]" + port,
                                              "http://[::]" + port,
                                              "http://[fe80::1]" + port,
                                              "http://[64:ff9b::7f00:1]" + port,
                                              "http://169.254.169.254/latest/",
                                              "http://user:pw@127.0.0.1" + port};
  std::vector<Effect> effects;
  for (const std::string& url : disguises) effects.push_back(webhook_effect(url));
  effects.push_back(warm_effect("k", "http://127.0.0.1" + port));
  start(settings);
  add(1, effects);
  const auto letters = dead_letters(effects.size());
  ASSERT_EQ(letters.size(), effects.size());
  for (const DeadLetter& letter : letters) {
    EXPECT_NE(letter.error.find("allow_private is off"), std::string::npos)
        << letter.url << ": " << letter.error;
    EXPECT_EQ(letter.attempts, 1u);
  }
  EXPECT_EQ(server.connections(), 0u);
  sender_->stop(0ms);
  // The operator allows it and replays.
  start(quick_settings());
  EXPECT_EQ(*store_->replay_dead(letters[0].id, wall_now_ms()), 1u);
  sender_->wake();
  EXPECT_TRUE(server.wait_for(1));
}

/// A name of this machine that the resolver, and not libcurl by itself, turns into a private IPv4 address; "": there is none.
std::string name_of_private_address() {
  char own[256] = {};
  gethostname(own, sizeof(own) - 1);
  for (const std::string& name : std::vector<std::string>{own, "ip4-localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}) {
    addrinfo* found = nullptr;
    if (name.empty() || name == "localhost" || getaddrinfo(name.c_str(), "80", nullptr, &found) != 0) continue;
    bool all_private = true;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) all_private = all_private && is_private_address(at->ai_addr);
    freeaddrinfo(found);
    if (all_private) return name;
  }
  return {};
}

TEST_F(SenderTest, NamesThatResolveToPrivateAddressesAreRefused) {
  const std::string name = name_of_private_address();
  if (name.empty()) GTEST_SKIP() << "no name of this machine resolves to a private address";
  HttpServer server;
  SenderSettings settings = quick_settings();
  settings.allow_private = false;
  settings.allow_hosts = {name};  // the name is allowed: it is the address that counts
  start(settings);
  add(1, {webhook_effect("http://" + name + ":" + std::to_string(server.port()) + "/")});
  const auto letters = dead_letters(1);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_NE(letters[0].error.find("allow_private is off"), std::string::npos) << letters[0].error;
  EXPECT_EQ(server.connections(), 0u);
}

TEST_F(SenderTest, HostsThatAreNotListedAreRefused) {
  HttpServer server;
  SenderSettings settings = quick_settings();
  settings.allow_hosts = {"*.allowed.test", "127.0.0.1"};
  start(settings);
  add(1, {webhook_effect(server.url("/", "localhost")), webhook_effect(server.url())});
  const auto letters = dead_letters(1);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].error, "host \"localhost\" is not in the setting allow_hosts");
  ASSERT_TRUE(server.wait_for(1));
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(SenderTest, ProxiesOfTheEnvironmentAreIgnored) {
  HttpServer server;
  const std::string proxy = fmt::format("http://127.0.0.1:{}", test::closed_port());
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) {
    ::setenv(name, proxy.c_str(), 1);
  }
  start();
  add(1, {webhook_effect(server.url())});
  EXPECT_TRUE(server.wait_for(1));
  EXPECT_TRUE(outbox_empties());
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
}

// Warm.

struct Warmed {
  std::string key{}, body{}, event_id{};
  std::optional<std::int64_t> ttl_ms{};
  std::optional<double> cost{};
};

class WarmTest : public SenderTest {
 protected:
  WarmSink sink(std::size_t refuse_first = 0) {
    return [this, refuse_first](const WarmedValue& value) {
      const std::lock_guard lock{mutex_};
      if (calls_++ < refuse_first) return false;
      warmed_.push_back({std::string{value.key}, std::string{value.body},
                         std::string{value.event_id}, value.ttl_ms, value.cost});
      return true;
    };
  }
  [[nodiscard]] std::vector<Warmed> warmed() {
    const std::lock_guard lock{mutex_};
    return warmed_;
  }
  std::mutex mutex_{};
  std::size_t calls_ = 0;
  std::vector<Warmed> warmed_{};
};

TEST_F(WarmTest, FetchedBodyReachesTheCache) {
  HttpServer server{[](const HttpRequest&) {
    return HttpAnswer{.body = std::string{"<p>\0</p>", 8}};
  }};
  Effect effect = warm_effect("page:1", server.url("/p/1"));
  effect.ttl_ms = 60'000;
  effect.cost = 3.5;
  effect.headers = {{"Accept", "text/html"}};
  start(quick_settings(), sink());
  add(7, {effect});
  ASSERT_TRUE(outbox_empties());
  ASSERT_EQ(warmed().size(), 1u);
  const Warmed value = warmed().front();
  EXPECT_EQ(value.key, "page:1");
  EXPECT_EQ(value.body, (std::string{"<p>\0</p>", 8}));
  EXPECT_EQ(value.event_id, event_id(7));
  EXPECT_EQ(value.ttl_ms, 60'000);
  EXPECT_EQ(value.cost, 3.5);
  const HttpRequest request = server.requests().front();
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/p/1");
  EXPECT_EQ(request.header("accept"), "text/html");
  EXPECT_EQ(request.header("cachee-event-id"), event_id(7));
  EXPECT_TRUE(eventually([&] { return sender_->counters().warmed == 1; }));
  expect_sound(*store_);
}

TEST_F(WarmTest, RowStaysUntilTheCacheTookTheValue) {
  HttpServer server{[](const HttpRequest&) { return HttpAnswer{.body = "v"}; }};
  start(quick_settings(), sink(3));
  add(1, {warm_effect("k", server.url())});
  ASSERT_TRUE(outbox_empties());
  EXPECT_EQ(warmed().size(), 1u);
  EXPECT_EQ(server.requests().size(), 4u);
  EXPECT_TRUE((*store_->list_dead(1)).empty());
}

TEST_F(WarmTest, SinkThatThrowsOrNeverTakesItEndsInTheDeadLetters) {
  HttpServer server{[](const HttpRequest&) { return HttpAnswer{.body = "v"}; }};
  SenderSettings settings = quick_settings();
  settings.attempts_max = 2;
  start(settings, [](const WarmedValue&) -> bool { throw std::runtime_error("cache is closed"); });
  add(1, {warm_effect("k", server.url())});
  const auto letters = dead_letters(1);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].what, "warm");
  EXPECT_NE(letters[0].error.find("the cache did not take the value"), std::string::npos);
}

TEST_F(WarmTest, FailuresAndCutBodiesAreTriedAgain) {
  HttpServer server{[](const HttpRequest& request) {
    if (request.index == 0) return HttpAnswer{.status = 503};
    if (request.index == 1) return HttpAnswer{.body = "par", .end = End::truncate};
    return HttpAnswer{.body = "whole"};
  }};
  start(quick_settings(), sink());
  add(1, {warm_effect("k", server.url())});
  ASSERT_TRUE(outbox_empties());
  ASSERT_EQ(warmed().size(), 1u);
  EXPECT_EQ(warmed()[0].body, "whole");
}

TEST_F(WarmTest, MissingAndOversizedBodiesAreGivenUp) {
  HttpServer server{[](const HttpRequest& request) {
    if (request.target == "/missing") return HttpAnswer{.status = 404};
    return HttpAnswer{.body = std::string(5000, 'x')};
  }};
  SenderSettings settings = quick_settings();
  settings.warm_bytes_max = 4999;
  start(settings, sink());
  add(1, {warm_effect("a", server.url("/missing")), warm_effect("b", server.url("/large"))});
  const auto letters = dead_letters(2);
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_TRUE(warmed().empty());
  std::set<std::string> errors;
  for (const DeadLetter& letter : letters) errors.insert(letter.error);
  EXPECT_TRUE(errors.contains("HTTP status 404"));
  EXPECT_TRUE(errors.contains("HTTP status 200, then: the body is larger than 4999 bytes"));
}

// Stop, kill, and a store that is slow.

TEST_F(SenderTest, StopLetsRunningRequestsEnd) {
  HttpServer server{[](const HttpRequest&) { return HttpAnswer{.delay = 150ms}; }};
  start();
  add(1, {webhook_effect(server.url())});
  ASSERT_TRUE(server.wait_for(1));
  sender_->stop(5s);
  EXPECT_TRUE((*store_->list_outbox(1)).empty());
  EXPECT_EQ(sender_->counters().sent, 1u);
}

TEST_F(SenderTest, StopKeepsItsDeadlineAndTheRow) {
  HttpServer server{[](const HttpRequest&) { return HttpAnswer{.end = End::silence}; }};
  start();
  add(1, {webhook_effect(server.url())});
  ASSERT_TRUE(server.wait_for(1));
  const auto before = std::chrono::steady_clock::now();
  sender_->stop(100ms);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 20s);
  EXPECT_EQ((*store_->list_outbox(10)).size(), 1u);
  EXPECT_EQ(sender_->counters().in_flight, 0u);
}

TEST_F(SenderTest, RowsOfAnEarlierLifeAreSentAfterStart) {
  HttpServer server;
  add(1, std::vector<Effect>(5, webhook_effect(server.url())));
  start();
  EXPECT_TRUE(server.wait_for(5));
}

TEST_F(SenderTest, RowsWithoutAWakeAreFound) {
  HttpServer server;
  start();
  ASSERT_TRUE(add_effects(*store_, 1, {webhook_effect(server.url())}, "t", wall_now_ms()));
  EXPECT_TRUE(server.wait_for(1));
}

TEST_F(SenderTest, ResultThatTheStoreCannotTakeIsKeptAndNotSentAgain) {
  HttpServer server;
  auto sender = Sender::make({.directory = state_.path(), .busy_ms = 10}, quick_settings(), {});
  ASSERT_TRUE(sender);
  add(1, {webhook_effect(server.url())});
  auto batch = store_->begin();  // holds the write lock
  ASSERT_TRUE(batch);
  (*sender)->start();
  ASSERT_TRUE(server.wait_for(1));
  ASSERT_TRUE(eventually([&] { return (*sender)->counters().store_failures >= 2; }));
  EXPECT_EQ(server.requests().size(), 1u);
  ASSERT_TRUE(batch->commit());
  EXPECT_TRUE(outbox_empties());
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(SenderTest, DoWorkDrivenByACallerIsBounded) {
  HttpServer server;
  add(1, std::vector<Effect>(10, webhook_effect(server.url())));
  auto sender = Sender::make({.directory = state_.path()}, quick_settings(), {});
  ASSERT_TRUE(sender);
  EXPECT_EQ((*sender)->do_work(1, 2), 2);
  EXPECT_EQ((*sender)->counters().in_flight, 2u);
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!(*store_->list_outbox(1)).empty() && std::chrono::steady_clock::now() < deadline) {
    EXPECT_LE((*sender)->do_work(1, 2), 4);
    (*sender)->wait(5ms);
  }
  EXPECT_TRUE((*store_->list_outbox(1)).empty());
  EXPECT_EQ(server.requests().size(), 10u);
}

TEST(SenderKill, EveryRowArrivesThoughSendersAreKilled) {
  TempDirectory state{TempDirectory::kMemory};
  constexpr std::uint64_t kRows = 120;
  constexpr int kKills = 6;
  // The children exist before any thread of this process, and begin when they are told to.
  struct Child {
    pid_t pid = 0;
    int go = -1;
  };
  std::vector<Child> children;
  for (int i = 0; i < kKills; ++i) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(pipe_fds[1]);
      for (const Child& other : children) ::close(other.go);
      char go = 0;
      if (::read(pipe_fds[0], &go, 1) != 1) ::_exit(1);
      SenderSettings settings = quick_settings();
      settings.concurrency_per_host = 2;
      auto sender = Sender::make({.directory = state.path()}, settings, {});
      if (!sender) ::_exit(2);
      (*sender)->start();
      ::pause();
    }
    ::close(pipe_fds[0]);
    children.push_back({pid, pipe_fds[1]});
  }
  auto store = open_store(state.path());
  HttpServer server{[](const HttpRequest&) { return HttpAnswer{.delay = 2ms}; }};
  for (std::uint64_t seq = 0; seq < kRows; ++seq) {
    add_effects(*store, seq, {webhook_effect(server.url())}, "t", 1);
  }
  std::size_t seen = 0;
  for (const Child& child : children) {
    ASSERT_EQ(::write(child.go, "g", 1), 1);
    EXPECT_TRUE(server.wait_for(seen + 5));
    ::kill(child.pid, SIGKILL);
    ::waitpid(child.pid, nullptr, 0);
    ::close(child.go);
    seen = server.requests().size();
  }
  expect_sound(*store);
  auto last = Sender::make({.directory = state.path()}, quick_settings(), {});
  ASSERT_TRUE(last);
  (*last)->start();
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!(*store->list_outbox(1)).empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_TRUE((*store->list_outbox(1)).empty());
  std::map<std::string, std::string> bodies_by_key;
  for (const HttpRequest& request : server.requests()) {
    const auto [at, added] =
        bodies_by_key.emplace(request.header("idempotency-key"), request.header("cachee-event-id"));
    EXPECT_EQ(at->second, request.header("cachee-event-id"));
  }
  EXPECT_EQ(bodies_by_key.size(), kRows);
  EXPECT_EQ(store->outbox_accounts()->front().sent, kRows);
  expect_sound(*store);
}

}  // namespace
}  // namespace cachee::daemon
