// Goal: sizes, durations, numbers, addresses and the options of triggers are read as people write
// them and in no other way. Method: tables of good and bad spellings, and round trips.
#include <gtest/gtest.h>

#include <random>

#include "core/address.hpp"
#include "core/trigger_options.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;

TEST(Units, SizesTakeBinaryUnits) {
  EXPECT_EQ(parse_bytes("0"), 0u);
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_EQ(parse_bytes("1KiB"), 1024u);
  EXPECT_EQ(parse_bytes("3k"), 3072u);
  EXPECT_EQ(parse_bytes("256MiB"), 256u << 20);
  EXPECT_EQ(parse_bytes("2G"), std::uint64_t{2} << 30);
  for (const char* bad : {"", "K", "MiB", "1.5M", "-1", "+1", "1 K", " 1", "1KB", "1XB", "1T", "0x10",
                          "99999999999999999999", "17179869184G", "1e3"}) {
    EXPECT_EQ(parse_bytes(bad), std::nullopt) << bad;
  }
  for (const std::uint64_t bytes : {0ull, 1ull, 1000ull, 1024ull, 1536ull, 3ull << 20, 5ull << 30}) {
    EXPECT_EQ(parse_bytes(format_bytes(bytes)), bytes);
  }
  EXPECT_EQ(format_bytes(256u << 20), "256MiB");
}

TEST(Units, DurationsNeedAUnitUnlessOneIsGiven) {
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("2d"), 48h);
  EXPECT_EQ(parse_duration("7us"), 7us);
  EXPECT_EQ(parse_duration("0s"), 0ns);
  EXPECT_EQ(parse_duration("100"), std::nullopt);
  EXPECT_EQ(parse_duration("100", 1ms), 100ms);
  EXPECT_EQ(parse_duration("2s", 1ms), 2s);
  for (const char* bad : {"", "s", "5parsecs", "-1s", "1.s", ".5s", "1 s", "1S", "1s ", "1.5",
                          "99999999999d", "300y", "1.0000000001s"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
  for (const std::chrono::nanoseconds duration :
       std::initializer_list<std::chrono::nanoseconds>{0ns, 1000ns, 1500us, 250ms, 90000ms, 3600000ms, 86400000ms}) {
    EXPECT_EQ(parse_duration(format_duration(duration)), duration);
  }
}

TEST(Units, IntegersHaveOneSpelling) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* bad : {"", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "0x1",
                          "9223372036854775808", "-9223372036854775809", "99999999999999999999999"}) {
    EXPECT_EQ(parse_integer(bad), std::nullopt) << bad;
  }
}

TEST(Units, NearestWordIsOfferedOnlyWhenItIsNear) {
  const std::string_view words[] = {"memory", "max_value", "mode", "name"};
  EXPECT_EQ(nearest_word("memroy", words), "memory");
  EXPECT_EQ(nearest_word("MEMORY", words), "memory");
  EXPECT_EQ(nearest_word("max_vlaue", words), "max_value");
  EXPECT_EQ(nearest_word("xyzzy", words), std::nullopt);
  EXPECT_EQ(nearest_word(std::string(100'000, 'm'), words), std::nullopt);
}

TEST(Address, OnlyAddressesAreTakenAndLoopbackIsKnown) {
  const auto v4 = parse_listen_address("127.0.0.1:6380");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->is_loopback());
  EXPECT_EQ(v4->port, 6380);
  EXPECT_TRUE(parse_listen_address("127.9.9.9:1")->is_loopback());
  EXPECT_TRUE(parse_listen_address("localhost:0")->is_loopback());
  EXPECT_TRUE(parse_listen_address("[::1]:1")->is_loopback());
  EXPECT_FALSE(parse_listen_address("0.0.0.0:1")->is_loopback());
  EXPECT_FALSE(parse_listen_address("[::]:1")->is_loopback());
  EXPECT_FALSE(parse_listen_address("[::ffff:127.0.0.1]:1")->is_loopback());
  for (const char* bad : {"", "127.0.0.1", "127.0.0.1:", ":1", "127.0.0.1:65536", "127.0.0.1:-1",
                          "example.org:1", "::1:1", "[]:1", "127.0.0:1", "127.0.0.1:1x"}) {
    EXPECT_EQ(parse_listen_address(bad), std::nullopt) << bad;
  }
  for (const char* text : {"127.0.0.1:1", "[::1]:2", "10.0.0.1:65535"}) {
    EXPECT_EQ(format_address(*parse_listen_address(text)), text);
  }
}

std::vector<std::string_view> views_of(const std::vector<std::string>& words) {
  return {words.begin(), words.end()};
}

TEST(TriggerOptions, DefaultsAreThoseOfInterface) {
  const auto spec = parse_trigger_words(views_of({"k:*", "ON_WRITE"}));
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->name, "k:*@ON_WRITE");
  EXPECT_EQ(spec->on_full, OnFull::block);
  EXPECT_EQ(spec->block_ms, 1000u);
  EXPECT_EQ(spec->retry_attempts, 5u);
  EXPECT_EQ(spec->backoff_min_ms, 50u);
  EXPECT_EQ(spec->backoff_max_ms, 30'000u);
  EXPECT_EQ(spec->timeout_ms, 100u);
  EXPECT_EQ(spec->memory_bytes, 16u << 20);
  EXPECT_EQ(spec->steps, 1'000'000u);
  EXPECT_EQ(spec->sample, 1u);
  EXPECT_EQ(spec->depth_max, 4u);
  EXPECT_TRUE(spec->enabled);
}

TEST(TriggerOptions, WordsOfASpecReadBackTheSame) {
  std::mt19937 engine{9};
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  for (int round = 0; round < 500; ++round) {
    TriggerSpec spec;
    spec.pattern = "p:" + std::to_string(random() % 5) + "*";
    spec.events = (1 + random() % 31) << 1;
    spec.name = random() % 2 == 0 ? spec.pattern + "@" + event_names(spec.events) : "a name";
    if (random() % 2 == 0) spec.priority = static_cast<int>(random() % 100) - 50;
    if (random() % 2 == 0) spec.block_ms = random() % 5000;
    if (random() % 3 == 0) {
      spec.on_full = OnFull::shed;
      spec.block_ms = 1000;
    }
    if (random() % 2 == 0) spec.retry_attempts = 1 + random() % 50;
    if (random() % 2 == 0) spec.backoff_max_ms = 50 + random() % 100'000;
    if (random() % 2 == 0) spec.timeout_ms = 1 + random() % 5000;
    if (random() % 2 == 0) spec.memory_bytes = std::uint64_t{1 + random() % 100} << 20;
    if (random() % 2 == 0) spec.steps = 1 + random() % 10'000'000;
    if (random() % 2 == 0 && (spec.events & event_bit(EventKind::read)) != 0) spec.sample = 1 + random() % 9;
    if (random() % 2 == 0) spec.depth_max = random() % 10;
    spec.enabled = random() % 2 == 0;
    const auto words = trigger_words(spec);
    const auto again = parse_trigger_words(views_of(words));
    ASSERT_TRUE(again) << again.failure().text;
    EXPECT_EQ(trigger_words(*again), words);
    EXPECT_EQ(again->name, spec.name);
    EXPECT_EQ(again->events, spec.events);
    EXPECT_EQ(again->block_ms, spec.block_ms);
    EXPECT_EQ(again->memory_bytes, spec.memory_bytes);
    EXPECT_EQ(again->enabled, spec.enabled);
  }
}

}  // namespace
}  // namespace cachee::daemon
