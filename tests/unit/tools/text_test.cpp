// Goal: what people read and type means what it says, for every byte. Method: tables of cases, and
// round trips of all byte values.
#include "text.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace cachee::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(Text, OrdinaryWordsAreShownAsTheyAre) {
  for (const char* word : {"session:42", "a b", "ключ", "a\\b", "it's", "[x]", "日本"}) {
    EXPECT_EQ(display(word), word);
  }
}

TEST(Text, WhatCouldBeMisreadIsQuoted) {
  EXPECT_EQ(display(""), R"("")");
  EXPECT_EQ(display("\"a\""), R"("\"a\"")");
  EXPECT_EQ(display("a\nb"), R"("a\nb")");
  EXPECT_EQ(display(" a"), R"(" a")");
  EXPECT_EQ(display("\x1b[31m"), R"("\x1b[31m")");
  EXPECT_EQ(display("\xff\xfe"), R"("\xff\xfe")");
  EXPECT_EQ(display(std::string_view{"a\0b", 3}), R"("a\x00b")");
  EXPECT_EQ(display("\xc2\x9b"
                    "31m"),
            R"("\xc2\x9b31m")")
      << "C1 controls drive terminals too";
  EXPECT_EQ(display("\xed\xa0\x80"), R"("\xed\xa0\x80")") << "a surrogate is no character";
  EXPECT_EQ(display("ü\xff"), "\"ü\\xff\"") << "good characters next to bad bytes stay readable";
}

TEST(Text, Utf8IsTheStrictOne) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("a\xf0\x9f\x98\x80"));
  EXPECT_FALSE(is_utf8("\xc0\xaf")) << "overlong";
  EXPECT_FALSE(is_utf8("\xe0\x80\xaf")) << "overlong";
  EXPECT_FALSE(is_utf8("\xf4\x90\x80\x80")) << "above U+10FFFF";
  EXPECT_FALSE(is_utf8("\xe2\x82")) << "cut short";
  EXPECT_FALSE(is_utf8("\x80"));
}

TEST(Text, Base64RoundTripsEveryLength) {
  const std::string bytes = all_bytes();
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    const std::string part = bytes.substr(0, length);
    EXPECT_EQ(base64_decode(base64_encode(part)), part) << length;
  }
  EXPECT_EQ(base64_encode("Man"), "TWFu");
  EXPECT_EQ(base64_encode("Ma"), "TWE=");
  EXPECT_EQ(base64_encode("M"), "TQ==");
}

TEST(Text, WhatIsNotBase64IsRefused) {
  for (const char* text : {"A", "AB", "ABC", "A===", "TQ=A", "=QAA", "TWFu\n", "TW u",
                           "TR==", "TWF=", "====", "TWFuTQ==TWFu"}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

TEST(Text, DurationsAreReadWithTheirUnits) {
  EXPECT_EQ(parse_duration("500ms"), milliseconds{500});
  EXPECT_EQ(parse_duration("30m"), seconds{1800});
  EXPECT_EQ(parse_duration("1.5s"), milliseconds{1500});
  EXPECT_EQ(parse_duration("1h30m"), seconds{5400});
  EXPECT_EQ(parse_duration("2d"), seconds{172800});
  EXPECT_EQ(parse_duration("10us"), nanoseconds{10000});
  EXPECT_EQ(parse_duration("90"), seconds{90});
  EXPECT_EQ(parse_duration("0"), seconds{0});
}

TEST(Text, WhatIsNoDurationIsRefused) {
  for (const char* text : {"", "m", "5parsecs", "5 m", "-5s", "+5s", "1e5", "nan", "inf", "5mx",
                           "1.2.3s", ".", "1h30", "999999999999999999999d", "200000d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Text, ADurationThatIsOnlyTooLongIsToldFromNone) {
  EXPECT_EQ(parse_duration("36525d"), std::chrono::hours{24 * 36525});
  for (const char* text : {"36526d", "200000d", "876601h", "9999999999", "999999999999999999999d"}) {
    EXPECT_TRUE(is_too_long(text)) << text;
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  for (const char* text : {"36525d", "1s", "", "d", "99999999parsecs", "-40000d"}) {
    EXPECT_FALSE(is_too_long(text)) << text;
  }
}

TEST(Text, NumbersHaveOneSpelling) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-7"), -7);
  EXPECT_EQ(parse_integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_integer("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  for (const char* text : {"", " 1", "1 ", "+1", "010", "-0", "0x10", "1e3", "1.0", "1_000", "1'000",
                           "9223372036854775808", "-9223372036854775809", "99999999999999999999"}) {
    EXPECT_FALSE(parse_integer(text)) << text;
  }
  EXPECT_EQ(parse_double("12.5"), 12.5);
  EXPECT_EQ(parse_double("1e3"), 1000.0);
  for (const char* text : {"", "inf", "nan", "1e999", "0x10", "much", "1 ", "1,5"}) {
    EXPECT_FALSE(parse_double(text)) << text;
  }
}

TEST(Text, SizesAreReadWithTheirUnits) {
  EXPECT_EQ(parse_bytes("100"), 100U);
  EXPECT_EQ(parse_bytes("4KiB"), 4096U);
  EXPECT_EQ(parse_bytes("16mib"), 16U << 20);
  EXPECT_EQ(parse_bytes("3k"), 3072U);
  EXPECT_EQ(parse_bytes("2G"), std::uint64_t{2} << 30);
  for (const char* text : {"", "KiB", "1KB", "1.5M", "-1", "1T", "x", "99999999999999999999G"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
}

TEST(Text, DurationsAreShownShort) {
  EXPECT_EQ(format_duration(nanoseconds{0}), "0s");
  EXPECT_EQ(format_duration(nanoseconds{750}), "750ns");
  EXPECT_EQ(format_duration(nanoseconds{1500}), "1.5us");
  EXPECT_EQ(format_duration(milliseconds{250}), "250ms");
  EXPECT_EQ(format_duration(milliseconds{12500}), "12.5s");
  EXPECT_EQ(format_duration(milliseconds{59999}), "59.99s") << "not 60s, which is 1m00s";
  EXPECT_EQ(format_duration(seconds{1799}), "29m59s");
  EXPECT_EQ(format_duration(seconds{3661}), "1h01m");
  EXPECT_EQ(format_duration(seconds{90000}), "1d01h");
  EXPECT_EQ(format_duration(milliseconds{-250}), "-250ms");
}

TEST(Text, SizesAndCountsAreShownShort) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(std::uint64_t{256} << 20), "256.0 MiB");
  EXPECT_EQ(format_count(7), "7");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1234567), "1,234,567");
}

TEST(Text, AMistypedWordFindsItsNeighbour) {
  const std::vector<std::string> words{"get", "set", "del", "scan", "trigger", "clients"};
  EXPECT_EQ(nearest("gte", words), "get");
  EXPECT_EQ(nearest("triger", words), "trigger");
  EXPECT_EQ(nearest("cl", words), "clients");
  EXPECT_EQ(nearest("clinets", words), "clients");
  EXPECT_FALSE(nearest("zzz", words));
  EXPECT_FALSE(nearest("", words));
}

}  // namespace
}  // namespace cachee::cli
