// Goal: effects survive the way to the supervisor unchanged, and no other bytes get through.
// Method: round trips, every truncation, every flipped byte, random bytes from a printed seed.
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "script/effects.hpp"

namespace cachee::daemon {
namespace {

std::vector<Effect> samples() {
  std::vector<Effect> all;
  Effect set;
  set.kind = EffectKind::set;
  set.key = "k";
  set.value = std::string("v\0\xff", 3);
  set.ttl_ms = 1500;
  set.cost = 2.5;
  set.metadata = {{"user", "42"}, {"x", ""}};
  set.depends_on = {"p", ""};
  set.only_absent = true;
  all.push_back(set);
  all.push_back({.kind = EffectKind::set});
  all.push_back({.kind = EffectKind::set, .only_present = true});
  all.push_back({.kind = EffectKind::del, .key = "k"});
  all.push_back({.kind = EffectKind::invalidate, .key = "k"});
  all.push_back({.kind = EffectKind::incr, .key = "n", .delta = -7});
  all.push_back({.kind = EffectKind::expire, .key = "k", .ttl_ms = 0});
  all.push_back({.kind = EffectKind::expire, .key = "k", .ttl_ms = -1});
  all.push_back({.kind = EffectKind::log, .key = "compliance", .value = "{\"a\":1}"});
  all.push_back({.kind = EffectKind::webhook,
                 .value = "{}",
                 .url = "https://h/x",
                 .method = "POST",
                 .secret = "s",
                 .headers = {{"X-A", "b"}},
                 .timeout_ms = 2000});
  all.push_back({.kind = EffectKind::warm, .key = "page", .url = "http://h/p", .ttl_ms = 1});
  all.push_back({.kind = EffectKind::depends_on, .key = "c", .depends_on = {"a", "b"}});
  all.push_back({.kind = EffectKind::metric, .key = "m.x", .amount = -0.0});
  all.push_back({.kind = EffectKind::once, .key = "id", .ttl_ms = 86'400'000});
  return all;
}

TEST(Effects, SurviveEncoding) {
  EXPECT_EQ(decode_effects(encode(samples())), samples());
  EXPECT_EQ(decode_effects(encode(std::vector<Effect>{})), std::vector<Effect>{});
}

TEST(Effects, EncodedOneByOneAreTheSameBytes) {
  std::string bytes(1, kEffectsVersion);
  for (const Effect& effect : samples()) {
    std::string one(encoded_bytes(effect), '\0');
    encode_effect(one.data(), effect);
    if (!effect.value.empty()) {
      EXPECT_EQ(one.substr(encoded_value_offset(effect), effect.value.size()), effect.value);
    }
    bytes += one;
  }
  EXPECT_EQ(bytes, encode(samples()));
}

TEST(Effects, EveryTruncationIsRefused) {
  const std::string bytes = encode(samples());
  std::size_t accepted = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto decoded = decode_effects(std::string_view{bytes}.substr(0, length));
    // A cut between two effects is a shorter list; anywhere else it is damage.
    if (decoded) {
      EXPECT_EQ(encode(*decoded), bytes.substr(0, length));
      ++accepted;
    }
  }
  EXPECT_EQ(accepted, samples().size());
}

TEST(Effects, WhatIsAcceptedIsWhatEncodeMakes) {
  const std::string original = encode(samples());
  for (std::size_t at = 0; at < original.size(); ++at) {
    for (const unsigned flip : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 255U}) {
      std::string bytes = original;
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ flip);
      const auto decoded = decode_effects(bytes);
      if (decoded) {
        EXPECT_EQ(encode(*decoded), bytes);
      }
    }
  }
}

TEST(Effects, RandomBytesNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random{seed};
  const std::string original = encode(samples());
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = original.substr(0, random() % original.size());
    for (unsigned i = 0; i < 1 + random() % 8 && !bytes.empty(); ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto decoded = decode_effects(bytes);
    if (decoded) {
      EXPECT_EQ(encode(*decoded), bytes);
      for (const Effect& effect : *decoded) EXPECT_TRUE(well_formed(effect));
    }
  }
}

TEST(Effects, AHugeCountAllocatesNothing) {
  std::string bytes = encode({{.kind = EffectKind::depends_on, .key = "c", .depends_on = {"a"}}});
  const std::size_t count_at = bytes.size() - 1 - 4 - 4;
  const std::uint32_t huge = 0xffffffff;
  std::memcpy(bytes.data() + count_at, &huge, sizeof(huge));
  EXPECT_FALSE(decode_effects(bytes));
}

TEST(Effects, IllFormedOnesAreRefused) {
  const std::vector<Effect> bad = {
      {.kind = EffectKind::log, .key = "../x", .value = "{}"},
      {.kind = EffectKind::log, .key = "c", .value = "{}\n{}"},
      {.kind = EffectKind::log, .key = "c"},
      {.kind = EffectKind::webhook, .url = "file:///etc/passwd", .method = "POST"},
      {.kind = EffectKind::webhook, .url = "http://h/ x", .method = "POST"},
      {.kind = EffectKind::webhook, .url = "http://h/", .method = "GET / HTTP/1.1\r\nX:"},
      {.kind = EffectKind::webhook,
       .url = "http://h/",
       .method = "GET",
       .headers = {{"A", "\r\nB: c"}}},
      {.kind = EffectKind::warm, .key = "k", .url = "http://"},
      {.kind = EffectKind::set, .key = std::string(kKeyBytesMax + 1, 'k')},
      {.kind = EffectKind::set, .key = "k", .ttl_ms = 0},
      {.kind = EffectKind::set, .key = "k", .cost = -1.0},
      {.kind = EffectKind::set, .key = "k", .only_absent = true, .only_present = true},
      {.kind = EffectKind::set, .key = "k", .metadata = {{"a", std::string(70'000, 'x')}}},
      {.kind = EffectKind::expire, .key = "k"},
      {.kind = EffectKind::depends_on, .key = "k"},
      {.kind = EffectKind::metric, .key = "a b"},
      {.kind = EffectKind::once, .key = "id"},
  };
  for (const Effect& effect : bad) {
    EXPECT_FALSE(well_formed(effect));
    EXPECT_FALSE(decode_effects(encode({effect}))) << static_cast<int>(effect.kind);
  }
  EXPECT_FALSE(decode_effects(encode(std::vector<Effect>(kEffectsMax + 1))));
}

}  // namespace
}  // namespace cachee::daemon
