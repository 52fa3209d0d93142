// Goal: an event survives the store and JSON without loss, and no bytes make a decoder misbehave.
// Method: round trips of random events; truncation, bit flips and random bytes against both
// decoders; the messages of refused fields.
#include "core/event_data.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "core/bytes.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;

std::string random_bytes(std::mt19937_64& random, std::size_t bytes_max) {
  std::string out(random() % (bytes_max + 1), '\0');
  const bool text = random() % 2 == 0;
  for (char& c : out) c = static_cast<char>(text ? 'a' + random() % 26 : random() % 256);
  return out;
}

EventData random_event(std::mt19937_64& random) {
  EventData event;
  event.seq = random() % (std::uint64_t{1} << 40);
  event.id = "5f3a9c1e-" + std::to_string(event.seq + 1);
  event.kind = static_cast<EventKind>(1 + random() % 5);
  event.cause = static_cast<Cause>(random() % 13);
  event.key = random_bytes(random, 40);
  event.value = random_bytes(random, 300);
  if (random() % 2 == 0) event.old_value = random_bytes(random, 50);
  for (auto left = random() % 4; left > 0; --left) {
    event.metadata.emplace_back("f" + std::to_string(left), random_bytes(random, 20));
  }
  event.cost = static_cast<double>(random() % 1000) / 8 + 0.125;
  event.version = random();
  event.timestamp_wall_us = 1'700'000'000'123'456 + static_cast<std::int64_t>(random() % 1000000);
  if (random() % 2 == 0) event.deadline_wall_us = event.timestamp_wall_us + 1;
  if (random() % 2 == 0) event.ttl_ms = static_cast<std::int64_t>(random() % 100000);
  event.lag_us = static_cast<std::int64_t>(random() % 5000000);
  event.age_ms = random() % 1000000;
  event.hits = random() % 1000;
  event.attempt = static_cast<std::uint32_t>(1 + random() % 5);
  event.duplicate = random() % 2 == 0;
  if (random() % 2 == 0) event.provenance = {.parent = 7, .chain = 3, .depth = 2};
  event.origin_role = static_cast<Role>(random() % 7);
  event.origin_pid = static_cast<std::int32_t>(random() % 100000);
  event.origin_client = random_bytes(random, 20);
  event.origin_instance = random_bytes(random, 10);
  return event;
}

void expect_same(const EventData& a, const EventData& b) {
  EXPECT_EQ(encode(a), encode(b));  // every field takes part in the encoding
}

// Metadata is a set of fields to its reader; JSON objects sort them.
EventData sorted(EventData event) {
  std::sort(event.metadata.begin(), event.metadata.end());
  return event;
}

TEST(EventData, SurvivesItsEncoding) {
  std::mt19937_64 random{1};
  for (int i = 0; i < 500; ++i) {
    const EventData event = random_event(random);
    const auto back = decode_event(encode(event));
    ASSERT_TRUE(back.has_value());
    expect_same(event, *back);
  }
}

TEST(EventData, EncodingKeepsEveryFieldApart) {
  const EventData plain;
  std::vector<EventData> variants(26, plain);
  variants[0].id = "x";
  variants[1].seq = 1;
  variants[2].kind = EventKind::evict;
  variants[3].cause = Cause::ttl;
  variants[4].key = "x";
  variants[5].value = "x";
  variants[6].old_value = "";
  variants[7].metadata = {{"a", "b"}};
  variants[8].cost = 2;
  variants[9].version = 1;
  variants[10].timestamp_wall_us = 1;
  variants[11].deadline_wall_us = 0;
  variants[12].ttl_ms = 0;
  variants[13].lag_us = 1;
  variants[14].age_ms = 1;
  variants[15].hits = 1;
  variants[16].attempt = 2;
  variants[17].duplicate = true;
  variants[18].provenance.parent = 1;
  variants[19].provenance.chain = 1;
  variants[20].provenance.depth = 1;
  variants[21].origin_role = Role::cdc;
  variants[22].origin_pid = 1;
  variants[23].origin_client = "x";
  variants[24].origin_instance = "x";
  std::set<std::string> seen;
  for (const EventData& variant : variants) {
    EXPECT_TRUE(seen.insert(encode(variant)).second);
    const auto back = decode_event(encode(variant));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(encode(*back), encode(variant));
  }
}

TEST(EventData, DamagedBytesAreRefused) {
  std::mt19937_64 random{2};
  for (int round = 0; round < 20; ++round) {
    const std::string bytes = encode(random_event(random));
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      EXPECT_FALSE(decode_event(std::string_view{bytes}.substr(0, cut)).has_value());
    }
    for (int i = 0; i < 300; ++i) {
      std::string damaged = bytes;
      damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      EXPECT_FALSE(decode_event(damaged).has_value());
    }
    EXPECT_FALSE(decode_event(bytes + '\0').has_value());
  }
}

TEST(EventData, BytesWithARightChecksumAndWrongContentsAreRefusedOrWhole) {
  // Past the checksum stand the real bounds checks: mutate the body and sign it again.
  std::mt19937_64 random{3};
  int decoded = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string body = encode(random_event(random));
    body.resize(body.size() - sizeof(std::uint64_t));
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      body[random() % body.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) body.resize(random() % body.size());
    const std::uint64_t sum = checksum64(body);
    body.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
    if (const auto event = decode_event(body)) {
      ++decoded;
      EXPECT_EQ(encode(*event), body);  // what decodes is what encode() makes
    }
  }
  EXPECT_GT(decoded, 0);
}

TEST(EventData, RandomBytesAreRefused) {
  std::mt19937_64 random{4};
  for (int i = 0; i < 20000; ++i) {
    EXPECT_FALSE(decode_event(random_bytes(random, 200)).has_value());
  }
}

TEST(EventData, SurvivesJson) {
  std::mt19937_64 random{5};
  for (int i = 0; i < 500; ++i) {
    const EventData event = random_event(random);
    expect_same(sorted(event), sorted(event_from_json(to_json(event).dump())));
  }
}

TEST(EventData, JsonHasTheFieldsOfTheLuaTable) {
  EventData event;
  event.id = "5f3a9c1e-10";
  event.seq = 9;
  event.kind = EventKind::expire;
  event.cause = Cause::ttl;
  event.key = "session:42";
  event.value = "u=42";
  event.metadata = {{"user", "42"}};
  event.timestamp_wall_us = 1'700'000'000'250'000;
  event.deadline_wall_us = 1'700'000'000'000'000;
  event.lag_us = 250'000;
  event.provenance = {.parent = 8, .chain = 5, .depth = 1};
  event.origin_role = Role::sweep;
  event.origin_pid = 77;
  event.origin_client = "cacheed";
  const json out = to_json(event);
  EXPECT_EQ(out["type"], "expire");
  EXPECT_EQ(out["cause"], "ttl");
  EXPECT_EQ(out["key"], "session:42");
  EXPECT_EQ(out["metadata"]["user"], "42");
  EXPECT_EQ(out["timestamp"], 1'700'000'000.25);
  EXPECT_EQ(out["deadline"], 1'700'000'000.0);
  EXPECT_EQ(out["lag_ms"], 250.0);
  EXPECT_EQ(out["parent"], "5f3a9c1e-8");
  EXPECT_EQ(out["chain"], "5f3a9c1e-5");
  EXPECT_EQ(out["depth"], 1);
  EXPECT_EQ(out["origin"]["kind"], "sweep");
  EXPECT_EQ(out["origin"]["pid"], 77);
  EXPECT_EQ(out["origin"]["client"], "cacheed");
  EXPECT_EQ(out["size"], 4);
  EXPECT_FALSE(out.contains("old_value"));
  EXPECT_FALSE(out.contains("ttl_ms"));
}

TEST(EventData, ClientsOwnEventIsItsOwnChain) {
  EventData event;
  event.id = "5f3a9c1e-10";
  EXPECT_EQ(to_json(event)["chain"], "5f3a9c1e-10");
  EXPECT_FALSE(to_json(event).contains("parent"));
  EXPECT_EQ(event_from_json(to_json(event).dump()).provenance.chain, 0u);
}

TEST(EventData, BytesThatAreNotUtf8SurviveJson) {
  for (const std::string& bytes :
       {std::string{"\xff\x00\xfe", 3}, std::string{"\xc0\x80"}, std::string{"\xed\xa0\x80"},
        std::string{"\xf4\x90\x80\x80"}, std::string{"ok\xe2\x82"}, std::string{"\x80"}}) {
    EventData event;
    event.key = bytes;
    event.value = bytes;
    event.metadata = {{bytes, bytes}};
    const json out = to_json(event);
    EXPECT_TRUE(out["key"].is_object()) << out["key"];
    const EventData back = event_from_json(out.dump());
    EXPECT_EQ(back.key, bytes);
    EXPECT_EQ(back.value, bytes);
    EXPECT_EQ(back.metadata, event.metadata);
  }
}

TEST(EventData, Utf8AndControlCharactersStayReadable) {
  EventData event;
  event.key = "gr\xc3\xbc\xc3\x9f\xf0\x9f\x98\x80";
  event.value = std::string{"a\0b\n", 4};
  EXPECT_TRUE(to_json(event)["key"].is_string());
  EXPECT_EQ(event_from_json(to_json(event).dump()).key, event.key);
  EXPECT_EQ(event_from_json(to_json(event).dump()).value, event.value);
}

TEST(EventData, RepeatedMetadataFieldsSurviveJson) {
  EventData event;
  event.metadata = {{"a", "1"}, {"a", "2"}};
  EXPECT_EQ(event_from_json(to_json(event).dump()).metadata, event.metadata);
}

TEST(EventData, TestEventsMayLeaveFieldsOutAndWriteNumbers) {
  const EventData event =
      event_from_json(R"({"key":"ratelimit:7","value":11,"metadata":{"limit":10},"type":"write"})");
  EXPECT_EQ(event.key, "ratelimit:7");
  EXPECT_EQ(event.value, "11");
  EXPECT_EQ(event.metadata, (Metadata{{"limit", "10"}}));
  EXPECT_EQ(event.kind, EventKind::write);
  EXPECT_EQ(event.attempt, 1u);
  EXPECT_EQ(event.cost, kCostDefault);
}

TEST(EventData, RefusedJsonNamesTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not JSON"},
      {"[]", "expected a JSON object"},
      {R"({"kye":"a"})", "event.kye"},
      {R"({"key":[]})", "event.key"},
      {R"({"key":{"base64":"!!"}})", "event.key"},
      {R"({"type":"explode"})", "event.type: expected one of: none write delete"},
      {R"({"cause":3})", "event.cause"},
      {R"({"version":-1})", "event.version"},
      {R"({"version":1.5})", "event.version"},
      {R"({"attempt":4294967296})", "event.attempt"},
      {R"({"timestamp":1e300})", "event.timestamp"},
      {R"({"duplicate":1})", "event.duplicate"},
      {R"({"metadata":{"a":{}}})", "event.metadata.a"},
      {R"({"metadata":[["a"]]})", "event.metadata"},
      {R"({"origin":{"kind":"moon"}})", "event.origin.kind"},
      {R"({"origin":{"planet":"moon"}})", "planet"},
      {R"({"parent":"x-y"})", "event.parent"},
  };
  for (const auto& [text, expected] : cases) {
    try {
      (void)event_from_json(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string_view{error.what()}.find(expected), std::string_view::npos)
          << error.what();
    }
  }
  EXPECT_THROW((void)event_from_json(json{{"key", std::string(kKeyBytesMax + 1, 'k')}}.dump()),
               std::invalid_argument);
}

TEST(EventData, MutatedJsonNeverDoesMoreThanThrow) {
  std::mt19937_64 random{6};
  for (int i = 0; i < 5000; ++i) {
    std::string text = to_json(random_event(random)).dump();
    for (auto changes = 1 + random() % 8; changes > 0; --changes) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    try {
      (void)event_from_json(text);
    } catch (const std::invalid_argument&) {
    }
  }
  EXPECT_THROW((void)event_from_json(std::string(100000, '[')), std::invalid_argument);
}

TEST(Base64, MatchesTheRfcAndRefusesTheRest) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(base64_encode(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
  for (const char* wrong : {"Z", "Zg", "Zg=", "Z===", "Zh==", "Zm9=", "====", "Zg==Zg==", "Zm 9"}) {
    EXPECT_FALSE(base64_decode(wrong).has_value()) << wrong;
  }
}

}  // namespace
}  // namespace cachee::daemon
