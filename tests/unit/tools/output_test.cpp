// Goal: one tree of values says the same as text and as JSON, whatever bytes a key has. Method:
// trees with known texts; JSON is read back.
#include "output.hpp"

#include <gtest/gtest.h>

#include <sstream>

#include "reply_text.hpp"

namespace cachee::cli {
namespace {

TEST(Output, AnObjectIsNamesAndValuesInColumns) {
  Value value = Value::object();
  value.add("name", "orders").add("keys", 12U).add("used", Value::bytes(1536));
  value.add("age", Value::milliseconds(90000)).add("on", true).add("none", Value{});
  EXPECT_EQ(to_text(value),
            "name  orders\nkeys  12\nused  1.5 KiB\nage   1m30s\non    yes\nnone  -\n");
  EXPECT_EQ(to_json(value),
            R"({"name":"orders","keys":12,"used":1536,"age":90000,"on":true,"none":null})");
}

TEST(Output, AListOfObjectsIsATableWithNumbersAtTheRight) {
  Value rows = Value::list();
  rows.push(Value::object().add("key", "a").add("hits", 5));
  rows.push(Value::object().add("key", "longer").add("hits", 12345));
  EXPECT_EQ(to_text(rows), "key      hits\na           5\nlonger  12345\n");
  EXPECT_EQ(to_json(rows), R"([{"key":"a","hits":5},{"key":"longer","hits":12345}])");
}

TEST(Output, RowsMayLackFields) {
  Value rows = Value::list();
  rows.push(Value::object().add("a", "1"));
  rows.push(Value::object().add("b", "2"));
  EXPECT_EQ(to_text(rows), "a  b\n1  \n   2\n");
}

TEST(Output, ColumnsCountCharactersAndNotBytes) {
  Value rows = Value::list();
  rows.push(Value::object().add("key", "äöü").add("n", 1));
  rows.push(Value::object().add("key", "abcd").add("n", 2));
  EXPECT_EQ(to_text(rows), "key   n\näöü   1\nabcd  2\n");
}

TEST(Output, NestedValuesStandBelowTheirName) {
  Value value = Value::object();
  value.add("name", "x");
  value.add("memory", Value::object().add("used", 1).add("free", 22));
  value.add("source", "if a then\n\tb()\nend\n");
  value.add("tags", Value::list().push("p").push("q"));
  value.add("empty", Value::object());
  EXPECT_EQ(to_text(value),
            "name   x\nmemory\n  used  1\n  free  22\nsource\n  if a then\n  \tb()\n  end\n"
            "tags   p, q\nempty  -\n");
}

TEST(Output, NothingToListPrintsNothing) {
  EXPECT_EQ(to_text(Value::list()), "");
  EXPECT_EQ(to_json(Value::list()), "[]");
}

TEST(Output, BinaryKeysAreEscapedInTextAndBase64InJson) {
  const std::string key{"\x00\xff\n", 3};
  Value rows = Value::list();
  rows.push(Value::object().add("key", key));
  EXPECT_EQ(to_text(rows), "key\n\"\\x00\\xff\\n\"\n");
  EXPECT_EQ(to_json(rows), R"([{"key":{"base64":"AP8K"}}])");
  const auto back = from_json(to_json(rows));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->items().at(0).find("key")->string(), key);
}

TEST(Output, JsonKeepsLargeNumbersAndSpecialCharacters) {
  Value value = Value::object();
  value.add("big", ~std::uint64_t{0}).add("small", INT64_MIN).add("half", 0.5);
  value.add("nan", std::numeric_limits<double>::quiet_NaN()).add("text", "\"\\\n\x01ü");
  EXPECT_EQ(to_json(value),
            R"({"big":18446744073709551615,"small":-9223372036854775808,"half":0.5,)"
            R"("nan":null,"text":"\"\\\n\u0001ü"})");
}

TEST(Output, JsonThatIsNoneOrBottomlessIsRefused) {
  EXPECT_FALSE(from_json("{"));
  EXPECT_FALSE(from_json(""));
  EXPECT_FALSE(from_json("\xff"));
  EXPECT_TRUE(from_json("[[[]]]"));
  EXPECT_FALSE(from_json(std::string(100000, '[') + std::string(100000, ']')));
}

TEST(Output, ColourIsOnlyWhereItIsWanted) {
  const Value value = Value::object().add("a", 1);
  EXPECT_EQ(to_text(value, false).find('\x1b'), std::string::npos);
  EXPECT_NE(to_text(value, true).find('\x1b'), std::string::npos);
}

TEST(Output, PrintsTextOrJsonAsAsked) {
  const Value value = Value::object().add("a", 1);
  std::ostringstream text;
  Output{text, {}}.print(value);
  EXPECT_EQ(text.str(), "a  1\n");
  std::ostringstream json;
  Output out{json, {.json = true}};
  out.print(value);
  out.print_line(value, "ignored");
  EXPECT_EQ(json.str(), "{\"a\":1}\n{\"a\":1}\n");
}

TEST(Output, CountsAreReadFromNumbersAndNumericText) {
  EXPECT_EQ(Value{7}.as_count(), 7U);
  EXPECT_EQ(Value{-7}.as_count(), 0U);
  EXPECT_EQ(Value{"42"}.as_count(), 42U);
  EXPECT_EQ(Value{"4x"}.as_count(), 0U);
  EXPECT_EQ(Value{}.as_count(), 0U);
}

Reply string_reply(std::string text) {
  return {.kind = Reply::Kind::string, .text = std::move(text)};
}
Reply integer_reply(std::int64_t number) {
  return {.kind = Reply::Kind::integer, .integer = number};
}
Reply array_reply(std::vector<Reply> items) {
  return {.kind = Reply::Kind::array, .items = std::move(items)};
}

TEST(ReplyText, ATerminalSeesTypesAsInRedisCli) {
  EXPECT_EQ(to_typed_text(integer_reply(1)), "(integer) 1\n");
  EXPECT_EQ(to_typed_text(string_reply("a\nb")), "\"a\\nb\"\n");
  EXPECT_EQ(to_typed_text({}), "(nil)\n");
  EXPECT_EQ(to_typed_text({.kind = Reply::Kind::status, .text = "OK"}), "OK\n");
  EXPECT_EQ(to_typed_text(array_reply({})), "(empty array)\n");
  EXPECT_EQ(to_typed_text(array_reply({string_reply("0"), array_reply({string_reply("k"), {}})})),
            "1) \"0\"\n2) 1) \"k\"\n   2) (nil)\n");
}

TEST(ReplyText, ItemsOfALongArrayLineUp) {
  std::vector<Reply> items(10, integer_reply(0));
  const std::string text = to_typed_text(array_reply(std::move(items)));
  EXPECT_TRUE(text.starts_with(" 1) (integer) 0\n 2) ")) << text;
  EXPECT_TRUE(text.ends_with("10) (integer) 0\n")) << text;
}

TEST(ReplyText, APipeGetsTheBytesAlone) {
  EXPECT_EQ(to_raw_text(integer_reply(1)), "1\n");
  EXPECT_EQ(to_raw_text(string_reply(std::string{"a\0b", 3})), (std::string{"a\0b\n", 4}));
  EXPECT_EQ(to_raw_text({}), "\n");
  EXPECT_EQ(to_raw_text(array_reply({string_reply("0"), array_reply({string_reply("k")})})),
            "0\nk\n");
  EXPECT_EQ(to_raw_text(string_reply("line\n")), "line\n") << "a text has its line feed already";
}

TEST(ReplyText, SomeCommandsAnswerWithTextToRead) {
  EXPECT_TRUE(answers_with_text({"info"}));
  EXPECT_TRUE(answers_with_text({"Trigger", "Source", "x"}));
  EXPECT_FALSE(answers_with_text({"TRIGGER", "LIST"}));
  EXPECT_FALSE(answers_with_text({"GET", "INFO"}));
  EXPECT_FALSE(answers_with_text({}));
}

TEST(Records, NamesAndValuesBecomeAnObjectWithItsNameFirst) {
  const Reply reply =
      array_reply({string_reply("enabled"), integer_reply(1), string_reply("events"),
                   string_reply("ON_WRITE"), string_reply("name"), string_reply("t")});
  EXPECT_EQ(to_json(to_record(reply)), R"({"name":"t","events":"ON_WRITE","enabled":true})");
}

TEST(Records, NestedFieldsAreReadAndUserTextIsNot) {
  const Reply reply = array_reply({string_reply("event"), string_reply(R"({"key":"k"})"),
                                   string_reply("value"), string_reply(R"({"not":"ours"})")});
  EXPECT_EQ(to_json(to_record(reply)), R"({"event":{"key":"k"},"value":"{\"not\":\"ours\"}"})");
}

TEST(Records, WhatIsNoRecordStaysAList) {
  EXPECT_EQ(to_json(to_record(array_reply({integer_reply(1), integer_reply(2)}))), "[1,2]");
  EXPECT_EQ(to_json(to_record(array_reply({string_reply("a")}))), R"(["a"])");
  EXPECT_EQ(to_json(to_records(string_reply(R"([{"a":1}])"))), R"([{"a":1}])");
}

}  // namespace
}  // namespace cachee::cli
