// Goal: dump and load lose nothing and believe nothing. Method: round trips with all bytes, random
// records, and lines that are wrong in one place each.
#include "dump_line.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cachee::cli {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

void expect_round_trip(const DumpRecord& record) {
  const std::string line = encode_dump_line(record);
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  const DumpLine back = decode_dump_line(line, kNow);
  ASSERT_TRUE(back.record) << back.error << "\n" << line;
  EXPECT_EQ(back.record->key, record.key);
  EXPECT_EQ(back.record->value, record.value);
  EXPECT_EQ(back.record->cost, record.cost);
  EXPECT_EQ(back.record->metadata, record.metadata);
  EXPECT_EQ(back.record->depends_on, record.depends_on);
  EXPECT_EQ(back.record->deadline_wall_ms, record.deadline_wall_ms);
}

TEST(DumpLine, IsReadableJson) {
  EXPECT_EQ(encode_dump_line({.key = "a", .value = "1"}), R"({"key":"a","value":"1"})");
  EXPECT_EQ(encode_dump_line({.key = "a",
                              .value = "\xff",
                              .cost = 2.5,
                              .metadata = {{"user", "42"}},
                              .depends_on = {"p"},
                              .deadline_wall_ms = kNow}),
            R"({"key":"a","value":{"base64":"/w=="},"cost":2.5,"deadline_ms":1700000000000,)"
            R"("metadata":{"user":"42"},"depends_on":["p"]})");
}

TEST(DumpLine, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  expect_round_trip(
      {.key = bytes, .value = bytes, .metadata = {{bytes, bytes}}, .depends_on = {bytes}});
  expect_round_trip({.key = "", .value = ""});
  expect_round_trip({.key = R"({"base64":"AA=="})", .value = R"({"base64":"AA=="})"});
  expect_round_trip({.key = "k", .value = "v", .cost = 0.1, .metadata = {{"", ""}, {"a", "\n"}}});
}

TEST(DumpLine, RandomRecordsComeBack) {
  std::mt19937_64 random{11};
  const auto text = [&](std::size_t length_max) {
    std::string bytes(random() % (length_max + 1), '\0');
    const bool ascii = random() % 2 == 0;
    for (auto& c : bytes) c = static_cast<char>(ascii ? 32 + random() % 95 : random() % 256);
    return bytes;
  };
  for (int i = 0; i < 2000; ++i) {
    DumpRecord record{.key = text(40), .value = text(200)};
    record.cost = static_cast<double>(random() % 100000 + 1) / 7;
    for (std::uint64_t n = random() % 4; n > 0; --n) {
      record.metadata.emplace_back(std::to_string(n) + text(8), text(8));
    }
    for (std::uint64_t n = random() % 3; n > 0; --n) record.depends_on.push_back(text(8));
    if (random() % 2 == 0)
      record.deadline_wall_ms = kNow + static_cast<std::int64_t>(random() % 100000);
    expect_round_trip(record);
  }
}

TEST(DumpLine, MetadataWithRepeatedFieldsKeepsAllOfThem) {
  expect_round_trip({.key = "k", .value = "v", .metadata = {{"a", "1"}, {"a", "2"}}});
}

TEST(DumpLine, TtlCountsFromNow) {
  const auto line = decode_dump_line(R"({"key":"a","value":"1","ttl_ms":60000})", kNow);
  ASSERT_TRUE(line.record) << line.error;
  EXPECT_EQ(line.record->deadline_wall_ms, kNow + 60000);
}

TEST(DumpLine, WrongLinesSayWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "JSON"},
      {"{", "JSON"},
      {"\xff", "JSON"},
      {"[]", "object"},
      {R"({"value":"1"})", "key"},
      {R"({"key":"a"})", "value"},
      {R"({"key":1,"value":"1"})", "key"},
      {R"({"key":"a","value":{"base64":"A"}})", "base64"},
      {R"({"key":"a","value":{"base64":"AA==","x":1}})", "value"},
      {R"({"key":"a","value":"1","cost":0})", "cost"},
      {R"({"key":"a","value":"1","cost":"2"})", "cost"},
      {R"({"key":"a","value":"1","deadline_ms":1.5})", "deadline_ms"},
      {R"({"key":"a","value":"1","deadline_ms":99999999999999999999})", "deadline_ms"},
      {R"({"key":"a","value":"1","deadline_ms":18446744073709551615})", "deadline_ms"},
      {R"({"key":"a","value":"1","ttl_ms":9223372036854775807})", "ttl_ms"},
      {R"({"key":"a","value":"1","metadata":"x"})", "metadata"},
      {R"({"key":"a","value":"1","metadata":{"f":1}})", "metadata.f"},
      {R"({"key":"a","value":"1","metadata":[["f"]]})", "metadata"},
      {R"({"key":"a","value":"1","depends_on":"p"})", "depends_on"},
      {R"({"key":"a","value":"1","tll_ms":5})", "tll_ms"}};
  for (const auto& [text, word] : cases) {
    const auto line = decode_dump_line(text, kNow);
    EXPECT_FALSE(line.record) << text;
    EXPECT_NE(line.error.find(word), std::string::npos) << text << ": " << line.error;
  }
}

TEST(DumpLine, NoPrefixOfALineCrashesTheReader) {
  const std::string line = encode_dump_line({.key = "key",
                                             .value = "\x80value",
                                             .cost = 3,
                                             .metadata = {{"a", "b"}},
                                             .depends_on = {"p"},
                                             .deadline_wall_ms = kNow});
  for (std::size_t length = 0; length < line.size(); ++length) {
    EXPECT_FALSE(decode_dump_line(std::string_view{line}.substr(0, length), kNow).record);
  }
  EXPECT_FALSE(decode_dump_line(std::string(200000, '['), kNow).record);
}

}  // namespace
}  // namespace cachee::cli
