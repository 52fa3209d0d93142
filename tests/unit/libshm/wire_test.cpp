// Goal: the client takes cacheed's replies apart as they are meant, however they are cut, and says so of
// bytes that are none.
#include <gtest/gtest.h>

#include <string>

#include "wire/wire.hpp"

namespace cachee::wire {
namespace {

using Status = Parser::Status;

TEST(Wire, EveryKindOfReplyIsTaken) {
  Parser parser;
  const std::string bytes = "*6\r\n+OK\r\n-STALE why\r\n:-42\r\n$5\r\na\r\nbc\r\n$-1\r\n*2\r\n$0\r\n\r\n*0\r\n";
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) ASSERT_EQ(parser.feed(bytes.substr(i, 1)), Status::need_more) << i;
  ASSERT_EQ(parser.feed("\n"), Status::done);
  const Reply reply = parser.take();
  ASSERT_EQ(reply.items.size(), 6u);
  EXPECT_EQ(reply.items[0].kind, Reply::Kind::status);
  EXPECT_EQ(reply.items[1].kind, Reply::Kind::error);
  EXPECT_EQ(reply.items[1].text, "STALE why");
  EXPECT_EQ(reply.items[2].integer, -42);
  EXPECT_EQ(reply.items[3].text, "a\r\nbc");
  EXPECT_EQ(reply.items[4].kind, Reply::Kind::null);
  ASSERT_EQ(reply.items[5].items.size(), 2u);
  EXPECT_EQ(reply.items[5].items[0].kind, Reply::Kind::text);
  EXPECT_EQ(reply.items[5].items[1].kind, Reply::Kind::array);
}

TEST(Wire, FieldsAreFoundByName) {
  Parser parser;
  ASSERT_EQ(parser.feed("*5\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n$1\r\nc\r\n"), Status::done);
  const Reply reply = parser.take();
  ASSERT_NE(reply.field("b"), nullptr);
  EXPECT_EQ(reply.field("b")->integer, 2);
  EXPECT_EQ(reply.field("c"), nullptr) << "a name without a value";
  EXPECT_EQ(reply.field("1"), nullptr);
}

TEST(Wire, BytesThatAreNoReplyAreDamaged) {
  std::string deep;
  for (std::size_t i = 0; i <= kDepthMax; ++i) deep += "*1\r\n";
  for (const std::string& bytes : {std::string{"hello\r\n"}, std::string{"\r\n"}, std::string{":x\r\n"}, std::string{":1 \r\n"},
                                   std::string{"$-2\r\n"}, std::string{"$1073741825\r\n"}, std::string{"*1048577\r\n"},
                                   std::string{"$1\r\nab\r\n"}, std::string{":1\r\n:2\r\n"}, deep,
                                   '+' + std::string(70000, 'x')}) {
    Parser parser;
    EXPECT_EQ(parser.feed(bytes), Status::damaged) << bytes.substr(0, 40);
    EXPECT_EQ(parser.feed(":1\r\n"), Status::damaged) << "final";
  }
}

TEST(Wire, NobodyListeningIsNoSupervisor) {
  Connection connection;
  EXPECT_EQ(connection.open("/nonexistent/cachee.sock").code(), Errc::no_supervisor);
  EXPECT_EQ(connection.open(std::string(200, 'x')).code(), Errc::invalid_argument);
  EXPECT_EQ(connection.call({"PING"}, std::chrono::steady_clock::now()).code(), Errc::no_supervisor);
}

}  // namespace
}  // namespace cachee::wire
