// Goal: signatures that others can check, waits that grow and end, and no way into the inner
// network. Method: published vectors and tables; no network.
#include <array>
#include <set>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "core/sha256.hpp"
#include "webhook/address.hpp"
#include "webhook/request.hpp"
#include "webhook/retry.hpp"

namespace cachee::daemon {
namespace {

std::string hmac_hex(std::string_view key, std::string_view text) {
  const std::array<std::string_view, 1> parts = {text};
  return to_hex(hmac_sha256(key, parts));
}

TEST(Sha256, MatchesFips180) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesMakeTheSameDigest) {
  const std::string text(300, 'q');
  for (std::size_t bytes = 0; bytes <= text.size(); ++bytes) {
    const std::string_view whole = std::string_view{text}.substr(0, bytes);
    for (const std::size_t cut : {std::size_t{0}, bytes / 3, bytes / 2, bytes}) {
      Sha256 hash;
      hash.update(whole.substr(0, cut));
      hash.update(whole.substr(cut));
      ASSERT_EQ(hash.finish(), sha256(whole));
    }
  }
}

TEST(Hmac, MatchesRfc4231) {
  EXPECT_EQ(hmac_hex(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac_hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_hex(std::string(20, '\xaa'), std::string(50, '\xdd')),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(
      hmac_hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hmac_hex(std::string(131, '\xaa'),
                     "This is a test using a larger than block-size key and a larger than "
                     "block-size data. The key needs to be hashed before being used by the HMAC "
                     "algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(Signature, IsOfTimestampAndBody) {
  EXPECT_EQ(signature("Jefe", "what do ya want for nothing?", ""),
            "sha256=" + hmac_hex("Jefe", "what do ya want for nothing?."));
  EXPECT_EQ(signature("s", "1700000000", "{}"), "sha256=" + hmac_hex("s", "1700000000.{}"));
}

TEST(IdempotencyKey, IsStableAndFitsAHeader) {
  OutboxRow row;
  row.event_id = "5f3a9c1e-7";
  row.trigger = "session:*@ON_EXPIRE";
  row.n = 2;
  const std::string key = idempotency_key(row);
  EXPECT_EQ(key, idempotency_key(row));
  EXPECT_TRUE(key.starts_with("5f3a9c1e-7-"));
  EXPECT_TRUE(key.ends_with("-2"));
  std::set<std::string> keys = {key};
  row.n = 3;
  EXPECT_TRUE(keys.insert(idempotency_key(row)).second);
  row.event_id = "5f3a9c1e-8";
  EXPECT_TRUE(keys.insert(idempotency_key(row)).second);
  row.trigger = "odd\r\nname \xff";
  EXPECT_TRUE(keys.insert(idempotency_key(row)).second);
  for (const std::string& each : keys) {
    EXPECT_EQ(each.find_first_not_of("0123456789abcdef-"), std::string::npos) << each;
  }
}

TEST(RequestHeaders, NeverBreakTheLine) {
  OutboxRow row;
  row.event_id = "5f3a9c1e-7";
  row.trigger = "odd\r\nX-Evil: 1 100% \xff";
  row.body = "{}";
  for (const std::string& header : request_headers(row, 1)) {
    EXPECT_EQ(header.find_first_of("\r\n"), std::string::npos) << header;
    if (header.starts_with("Cachee-Trigger")) {
      EXPECT_EQ(header, "Cachee-Trigger: odd%0D%0AX-Evil: 1 100%25 %FF");
    }
  }
}

TEST(Backoff, DoublesWithinItsBounds) {
  const SenderSettings settings{.backoff_min_ms = 100, .backoff_max_ms = 1000};
  EXPECT_EQ(backoff_ms(settings, 1, 1.0, {}), 100);
  EXPECT_EQ(backoff_ms(settings, 2, 1.0, {}), 200);
  EXPECT_EQ(backoff_ms(settings, 3, 1.0, {}), 400);
  EXPECT_EQ(backoff_ms(settings, 3, 0.0, {}), 200);
  EXPECT_EQ(backoff_ms(settings, 5, 1.0, {}), 1000);
  EXPECT_EQ(backoff_ms(settings, 4'000'000'000u, 1.0, {}), 1000);
  EXPECT_EQ(backoff_ms(settings, 0, 1.0, {}), 100);
}

TEST(Backoff, ReceiverMayAskForMoreButNotForEver) {
  const SenderSettings settings{.backoff_min_ms = 100, .retry_after_max_ms = 60'000};
  EXPECT_EQ(backoff_ms(settings, 1, 1.0, 5000), 5000);
  EXPECT_EQ(backoff_ms(settings, 1, 1.0, 1), 100);
  EXPECT_EQ(backoff_ms(settings, 1, 1.0, INT64_MAX), 60'000);
  EXPECT_EQ(backoff_ms(settings, 1, 1.0, -5), 100);
}

TEST(Judge, StatusDecides) {
  using Verdict = OutboxResult::Verdict;
  const SenderSettings settings;
  OutboxRow row;
  row.id = 9;
  const auto verdict = [&](std::int32_t status) {
    Attempt attempt;
    attempt.status = status;
    return judge(settings, row, attempt, 1000, 0.5).verdict;
  };
  for (const int status : {200, 201, 204, 299}) EXPECT_EQ(verdict(status), Verdict::sent) << status;
  for (const int status : {408, 429, 500, 502, 503, 504, 599, 100}) {
    EXPECT_EQ(verdict(status), Verdict::retry) << status;
  }
  for (const int status : {300, 301, 302, 307, 400, 401, 403, 404, 410, 422, 451}) {
    EXPECT_EQ(verdict(status), Verdict::dead) << status;
  }
  Attempt unreachable;
  unreachable.error = "Could not connect";
  OutboxResult result = judge(settings, row, unreachable, 1000, 0.5);
  EXPECT_EQ(result.verdict, Verdict::retry);
  EXPECT_EQ(result.id, 9);
  EXPECT_EQ(result.attempts, 1u);
  EXPECT_GT(result.next_attempt_wall_ms, 1000);
  unreachable.final = true;
  EXPECT_EQ(judge(settings, row, unreachable, 1000, 0.5).verdict, Verdict::dead);
}

TEST(Judge, LastAttemptGoesToTheDeadLettersWithTheReason) {
  const SenderSettings settings{.attempts_max = 3};
  OutboxRow row;
  row.attempts = 1;
  Attempt attempt;
  attempt.status = 503;
  EXPECT_EQ(judge(settings, row, attempt, 0, 0).verdict, OutboxResult::Verdict::retry);
  row.attempts = 2;
  const OutboxResult result = judge(settings, row, attempt, 0, 0);
  EXPECT_EQ(result.verdict, OutboxResult::Verdict::dead);
  EXPECT_EQ(result.error, "given up after 3 attempts: HTTP status 503");
  EXPECT_EQ(result.status, 503);
}

bool is_private(const char* text) {
  sockaddr_in inet{};
  if (::inet_pton(AF_INET, text, &inet.sin_addr) == 1) {
    inet.sin_family = AF_INET;
    return is_private_address(reinterpret_cast<const sockaddr*>(&inet));
  }
  sockaddr_in6 inet6{};
  inet6.sin6_family = AF_INET6;
  EXPECT_EQ(::inet_pton(AF_INET6, text, &inet6.sin6_addr), 1) << text;
  return is_private_address(reinterpret_cast<const sockaddr*>(&inet6));
}

TEST(Address, InsideAndOutside) {
  for (const char* inside : {"0.0.0.0",
                             "0.1.2.3",
                             "10.0.0.1",
                             "10.255.255.255",
                             "100.64.0.1",
                             "100.127.255.255",
                             "127.0.0.1",
                             "127.255.0.9",
                             "169.254.169.254",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.0.0.8",
                             "192.0.2.1",
                             "192.168.1.1",
                             "198.18.0.1",
                             "198.19.255.255",
                             "198.51.100.1",
                             "203.0.113.9",
                             "224.0.0.1",
                             "239.1.1.1",
                             "240.0.0.1",
                             "255.255.255.255",
                             "::",
                             "::1",
                             "fe80::1",
                             "fc00::1",
                             "fd12:3456::1",
                             "ff02::1",
                             "2001:db8::1",
                             "3fff::1",
                             "::ffff:127.0.0.1",
                             "::ffff:10.1.1.1",
                             "64:ff9b::7f00:1",
                             "64:ff9b:1::1",
                             "2002:7f00:1::",
                             "2002:c0a8:101::1",
                             "2001::1",
                             "2001:10::1",
                             "100::1",
                             "::127.0.0.1",
                             "fec0::1"}) {
    EXPECT_TRUE(is_private(inside)) << inside;
  }
  for (const char* outside :
       {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255",
        "192.169.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8",
        "64:ff9b::808:808", "2002:808:808::1", "2001:4860:4860::8888"}) {
    EXPECT_FALSE(is_private(outside)) << outside;
  }
  sockaddr unknown{};
  unknown.sa_family = AF_UNIX;
  EXPECT_TRUE(is_private_address(&unknown));
}

TEST(AllowHosts, GlobsOfNames) {
  SenderSettings settings;
  EXPECT_FALSE(refuse_url(settings, "http://anything/").has_value());
  settings.allow_hosts = {"*.example.com", "hooks.test"};
  for (const char* good : {"http://a.example.com/x", "https://A.B.EXAMPLE.COM:8443",
                           "http://hooks.test.:80/", "http://user:pw@hooks.test/"}) {
    EXPECT_FALSE(refuse_url(settings, good).has_value()) << good;
  }
  for (const char* bad :
       {"http://example.com/", "http://evil.test/a.example.com", "http://hooks.test@evil.test/",
        "http://evil.test#hooks.test", "http://evil.test?.example.com", "http://1.2.3.4/",
        "http://hooks.test.evil/", "http://[::1]/", "nonsense"}) {
    const auto refusal = refuse_url(settings, bad);
    ASSERT_TRUE(refusal.has_value()) << bad;
  }
  EXPECT_EQ(*refuse_url(settings, "http://evil.test/"),
            "host \"evil.test\" is not in the setting allow_hosts");
}

}  // namespace
}  // namespace cachee::daemon
