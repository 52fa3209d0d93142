// Goal: the RESP parser reads what Redis reads, says what Redis says, and no bytes break it.
// Method: examples, the same bytes in every way of cutting them, mutated and random bytes, and
// lengths that promise more than comes.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "control/resp.hpp"

namespace cachee::daemon::resp {
namespace {

using Request = std::vector<std::string>;
using Status = RequestParser::Status;

struct Seen {
  std::vector<Request> requests{};
  std::string error{};
  friend bool operator==(const Seen&, const Seen&) = default;
};

void drain(RequestParser& parser, Seen& seen) {
  for (;;) {
    const Status status = parser.next();
    if (status == Status::need_more) return;
    if (status == Status::error) {
      seen.error = parser.error();
      return;
    }
    if (status == Status::refused) {
      seen.requests.push_back({parser.excess() == RequestParser::Excess::bulk ? "(bulk)" : "(request)"});
      continue;
    }
    const auto arguments = parser.arguments();
    ASSERT_FALSE(arguments.empty());
    seen.requests.emplace_back(arguments.begin(), arguments.end());
  }
}

Seen parse(std::string_view bytes, const RequestLimits& limits = {}) {
  RequestParser parser{limits};
  parser.feed(bytes);
  Seen seen;
  drain(parser, seen);
  return seen;
}

std::string bulk_array(const Request& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return text;
}

TEST(RespParser, ReadsArraysInlineLinesAndPipelinesInOrder) {
  const std::string binary{"\r\n\0\xff", 4};
  const auto seen = parse(bulk_array({"SET", "k", binary}) + "PING\r\n" + bulk_array({"GET", ""}) +
                          "set \"a b\" 'c'\n\r\n*0\r\n*-1\r\n   \r\nECHO <<LUA\r\n");
  EXPECT_EQ(seen.error, "");
  EXPECT_EQ(seen.requests, (std::vector<Request>{{"SET", "k", binary},
                                                 {"PING"},
                                                 {"GET", ""},
                                                 {"set", "a b", "c"},
                                                 {"ECHO", "<<LUA"}}));
}

TEST(RespParser, PiecesOfAnySizeReadTheSame) {
  const std::string bytes = bulk_array({"SET", "key", std::string(100, 'v')}) + "PING x\r\n" +
                            bulk_array({"MGET", "a", "", "c"}) + "*1\r\n:3\r\n";
  const Seen whole = parse(bytes);
  ASSERT_EQ(whole.requests.size(), 3u);
  ASSERT_EQ(whole.error, "Protocol error: expected '$', got ':'");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    RequestParser parser;
    Seen seen;
    parser.feed(std::string_view{bytes}.substr(0, cut));
    drain(parser, seen);
    if (seen.error.empty()) {
      parser.feed(std::string_view{bytes}.substr(cut));
      drain(parser, seen);
    }
    EXPECT_EQ(seen, whole) << "cut at " << cut;
  }
  RequestParser parser;
  Seen seen;
  for (const char byte : bytes) {
    parser.feed({&byte, 1});
    drain(parser, seen);
    if (!seen.error.empty()) break;
  }
  EXPECT_EQ(seen, whole);
}

TEST(RespParser, ErrorsAreWordedAsRedisWordsThem) {
  const std::pair<std::string, std::string> cases[] = {
      {"*99999999999\r\n", "invalid multibulk length"},
      {"*abc\r\n", "invalid multibulk length"},
      {"*1048577\r\n", "invalid multibulk length"},
      {"*1\r\n$-5\r\n", "invalid bulk length"},
      {"*1\r\n$99999999999\r\n", "invalid bulk length"},
      {"*1\r\n$+3\r\n", "invalid bulk length"},
      {"*1\r\n$03\r\n", "invalid bulk length"},
      {"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"},
      {"SET \"k\r\n", "unbalanced quotes in request"},
      {std::string(70'000, 'x'), "too big inline request"},
      {"*" + std::string(70'000, '1'), "too big mbulk count string"},
      {"*1\r\n$" + std::string(70'000, '1'), "too big bulk count string"},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(parse(bytes).error, "Protocol error: " + text) << bytes.substr(0, 30);
  }
}

TEST(RespParser, LimitsHoldForOneArgumentAndForAllOfThem) {
  const RequestLimits limits{100, 250};
  EXPECT_EQ(parse(bulk_array({std::string(100, 'x')}), limits).requests.size(), 1u);
  EXPECT_EQ(parse(bulk_array({std::string(101, 'x')}), limits).requests, std::vector<Request>{{"(bulk)"}});
  const std::string part(90, 'x');
  EXPECT_EQ(parse(bulk_array({part, part}), limits).requests.size(), 1u);
  EXPECT_EQ(parse(bulk_array({part, part, part}), limits).requests, std::vector<Request>{{"(request)"}});
}

TEST(RespParser, RequestsBeyondTheLimitsAreSkippedAndWhatFollowsIsRead) {
  const RequestLimits limits{100, 250};
  const std::string large(5000, 'x');
  const std::string bytes = bulk_array({"SET", "k", large}) + bulk_array({"GET", "k"}) + bulk_array({large, large, "more"}) +
                            bulk_array({std::string(90, 'a'), std::string(90, 'b'), std::string(90, 'c')}) + "PING\r\n";
  const std::vector<Request> expected{{"(bulk)"}, {"GET", "k"}, {"(bulk)"}, {"(request)"}, {"PING"}};
  EXPECT_EQ(parse(bytes, limits).requests, expected);
  for (const std::size_t piece : {1u, 3u, 64u, 999u}) {
    RequestParser parser{limits};
    Seen seen;
    std::size_t memory_max = 0;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      parser.feed(std::string_view{bytes}.substr(at, piece));
      drain(parser, seen);
      memory_max = std::max(memory_max, parser.memory_bytes());
    }
    EXPECT_EQ(seen.requests, expected) << piece;
    EXPECT_EQ(seen.error, "");
    EXPECT_LE(memory_max, 2048u) << "what is skipped is not kept";
  }
  // There is an end to it: more than any server takes is no protocol.
  EXPECT_EQ(parse("*1\r\n$536870913\r\n", limits).error, "Protocol error: invalid bulk length");
}

TEST(RespParser, StrangersMaySendLittle) {
  RequestParser parser;
  parser.set_stranger(true);
  parser.feed("*11\r\n");
  EXPECT_EQ(parser.next(), Status::error);
  EXPECT_EQ(parser.error(), "Protocol error: unauthenticated multibulk length");
  RequestParser other;
  other.set_stranger(true);
  other.feed("*1\r\n$16385\r\n");
  EXPECT_EQ(other.next(), Status::error);
  EXPECT_EQ(other.error(), "Protocol error: unauthenticated bulk length");
  RequestParser friendly;
  friendly.set_stranger(true);
  friendly.feed(bulk_array({"AUTH", "pw"}));
  EXPECT_EQ(friendly.next(), Status::request);
}

TEST(RespParser, MemoryGrowsWithBytesThatCameNotWithBytesThatWerePromised) {
  RequestParser parser;
  parser.feed("*1000000\r\n$60000000\r\nabc");
  EXPECT_EQ(parser.next(), Status::need_more);
  EXPECT_LE(parser.memory_bytes(), 4096u);
  EXPECT_EQ(parser.bytes_wanted(), 60'000'002u - 3u);
}

TEST(RespParser, LargeBuffersAreGivenBack) {
  RequestParser parser;
  parser.feed(bulk_array({std::string(1 << 20, 'x')}));
  EXPECT_EQ(parser.next(), Status::request);
  EXPECT_EQ(parser.next(), Status::need_more);
  EXPECT_EQ(parser.memory_bytes(), 0u);
  parser.feed("PING\r\n");
  EXPECT_EQ(parser.next(), Status::request);
  EXPECT_EQ(parser.arguments()[0], "PING");
}

TEST(RespParser, LongPipelinesInOneBufferAreReadToTheEnd) {
  std::string bytes;
  for (int i = 0; i < 20'000; ++i) bytes += bulk_array({"INCR", "n" + std::to_string(i)});
  RequestParser parser;
  Seen seen;
  for (std::size_t at = 0; at < bytes.size(); at += 1000) {
    parser.feed(std::string_view{bytes}.substr(at, 1000));
    drain(parser, seen);
  }
  ASSERT_EQ(seen.requests.size(), 20'000u);
  EXPECT_EQ(seen.requests.back(), (Request{"INCR", "n19999"}));
}

TEST(RespParser, MutatedBytesAreNeverMoreThanAnError) {
  std::mt19937 random{3};
  const std::string seed = bulk_array({"SET", "key", "value", "EX", "10"}) + "GET \"k\\x00\"\r\n" +
                           bulk_array({"DEL", "key"});
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed;
    for (unsigned change = 0; change <= random() % 5; ++change) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0: bytes[at] = static_cast<char>(random()); break;
        case 1: bytes.erase(at, 1 + random() % 6); break;
        case 2: bytes.insert(at, 1, "*$\r\n-0129:"[random() % 10]); break;
        default: bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 10)); break;
      }
      if (bytes.empty()) bytes = "*";
    }
    const Seen whole = parse(bytes, {1000, 5000});
    RequestParser parser{{1000, 5000}};
    Seen seen;
    for (std::size_t at = 0; at < bytes.size() && seen.error.empty();) {
      const std::size_t piece = 1 + random() % 7;
      parser.feed(std::string_view{bytes}.substr(at, piece));
      drain(parser, seen);
      at += piece;
    }
    // The same requests whatever the pieces; an error may be seen earlier, never other requests.
    ASSERT_EQ(seen.requests, whole.requests) << bytes;
    ASSERT_EQ(seen.error.empty(), whole.error.empty()) << bytes;
  }
}

TEST(RespWriter, WritesBothVersionsOfTheProtocol) {
  const auto written = [](int protocol) {
    ReplyWriter out{1000};
    out.protocol = protocol;
    out.simple("OK");
    out.error("ERR a\r\nb");
    out.integer(-7);
    out.bulk({"a\0b", 3});
    out.null();
    out.null_array();
    out.number(1.5);
    out.boolean(true);
    out.verbatim("text");
    out.array(2);
    out.map(1);
    out.set(3);
    return std::string{out.pending()};
  };
  const std::string head = std::string{"+OK\r\n-ERR a  b\r\n:-7\r\n$3\r\na\0b\r\n", 30};
  EXPECT_EQ(written(2), head + "$-1\r\n*-1\r\n$3\r\n1.5\r\n:1\r\n$4\r\ntext\r\n*2\r\n*2\r\n*3\r\n");
  EXPECT_EQ(written(3), head + "_\r\n_\r\n,1.5\r\n#t\r\n=8\r\ntxt:text\r\n*2\r\n%1\r\n~3\r\n");
}

TEST(RespWriter, TooLargeRepliesAreKnownAndNotStored) {
  ReplyWriter out{10};
  out.bulk("abc");
  EXPECT_FALSE(out.overflowed());
  out.bulk("def");
  EXPECT_TRUE(out.overflowed());
  EXPECT_LE(out.pending().size(), 10u);
}

TEST(RespWriter, TakesBackAndCutsOffWhatWasWritten) {
  ReplyWriter out{100};
  out.simple("A");
  const auto mark = out.mark();
  out.simple("B");
  EXPECT_EQ(out.since(mark), "+B\r\n");
  EXPECT_EQ(out.take_since(mark), "+B\r\n");
  EXPECT_EQ(out.pending(), "+A\r\n");
  out.consume(2);
  EXPECT_EQ(out.pending(), "\r\n");
  out.consume(100);
  EXPECT_TRUE(out.pending().empty());
}

TEST(RespWriter, DoublesAreShort) {
  EXPECT_EQ(format_double(0.1), "0.1");
  EXPECT_EQ(format_double(3), "3");
  EXPECT_EQ(format_double(-1e300), "-1e+300");
  EXPECT_EQ(format_double(1.0 / 0.0), "inf");
}

}  // namespace
}  // namespace cachee::daemon::resp
