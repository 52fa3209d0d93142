// Goal: a file of commands runs line by line as written, errors name their line, and the exit code
// says whether all went well. Method: the program with a pipe, against a server of the test.
#include <gtest/gtest.h>

#include "prompt.hpp"
#include "support.hpp"

namespace cachee::cli::test {
namespace {

constexpr const char* kRateLimit = R"(TRIGGER REGISTER ratelimit:* ON_WRITE <<LUA
if tonumber(event.value) > tonumber(event.metadata.limit) then
  cachee.log("compliance", {
    key = event.key,
    value = event.value,
    limit = event.metadata.limit,
    timestamp = event.timestamp
  })
end
LUA
)";

constexpr const char* kRateLimitSource =
    R"(if tonumber(event.value) > tonumber(event.metadata.limit) then
  cachee.log("compliance", {
    key = event.key,
    value = event.value,
    limit = event.metadata.limit,
    timestamp = event.timestamp
  })
end
)";

std::string answer(const Words& words) {
  if (words[0] == "GET" && words.size() > 1 && words[1] == "missing") return "$-1\r\n";
  if (words[0] == "GET") return bulk("value of " + words.at(1));
  if (words[0] == "INCR") return integer(7);
  if (words[0] == "KEYS") return array({bulk("a"), bulk("b")});
  if (words[0] == "BAD") return "-ERR unknown command 'BAD'\r\n";
  if (words[0] == "SHUTDOWN") return "";
  return kOk;
}

TEST(CommandsFile, TheExampleOfTheInterfaceIsOneCommand) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done = run_cachee(folder, {}, kRateLimit);
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "OK\n");
  EXPECT_EQ(
      server.received(),
      (std::vector<Words>{{"TRIGGER", "REGISTER", "ratelimit:*", "ON_WRITE", kRateLimitSource}}));
}

TEST(CommandsFile, AnswersArePrintedBare) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done = run_cachee(
      folder, {}, "# a comment\n\nSET k \"a\\x00b\"\n  GET k\nGET missing\nINCR n\nKEYS *");
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "OK\nvalue of k\n\n7\na\nb\n");
  EXPECT_EQ(server.received().at(0), (Words{"SET", "k", std::string{"a\0b", 3}}));
}

TEST(CommandsFile, JsonHasALineForEachCommand) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done = run_cachee(folder, {"--json"}, "GET k\nGET missing\nINCR n\nBAD\nKEYS *\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.out,
            "\"value of k\"\nnull\n7\n{\"error\":\"ERR unknown command "
            "'BAD'\",\"line\":4}\n[\"a\",\"b\"]\n");
}

TEST(CommandsFile, AFailureNamesItsLineAndTheRestIsRun) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done = run_cachee(folder, {}, std::string{kRateLimit} + "BAD\nSET b 2\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.out, "OK\nOK\n");
  EXPECT_EQ(done.err, "cachee: line 11: (error) ERR unknown command 'BAD'\n");
  EXPECT_EQ(server.received().back(), (Words{"SET", "b", "2"}));
}

TEST(CommandsFile, AHeredocWithoutItsEndNamesWhereItBegan) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done =
      run_cachee(folder, {}, "SET a 1\nTRIGGER REGISTER k:* ON_WRITE <<LUA\nreturn\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_NE(done.err.find("line 2: (error)"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("LUA"), std::string::npos) << done.err;
  EXPECT_EQ(server.received().size(), 1U) << "half a trigger must not be registered";
}

TEST(CommandsFile, UnbalancedQuotesNameTheirLine) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done done = run_cachee(folder, {}, "SET a \"1\nSET b 2\n");
  EXPECT_EQ(done.code, 1);
  EXPECT_NE(done.err.find("line 1: (error)"), std::string::npos) << done.err;
  EXPECT_EQ(server.received(), (std::vector<Words>{{"SET", "b", "2"}}));
}

TEST(CommandsFile, NothingToDoIsFine) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  for (const char* text : {"", "\n\n", "# only words\n"}) {
    const Done done = run_cachee(folder, {}, text);
    EXPECT_EQ(done.code, 0);
    EXPECT_EQ(done.out + done.err, "");
  }
}

TEST(CommandsFile, QuitAndShutdownEndIt) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  const Done quit = run_cachee(folder, {}, "QUIT\nSET never 1\n");
  EXPECT_EQ(quit.code, 0) << quit.err;
  const Done shutdown = run_cachee(folder, {}, "SHUTDOWN\nSET never 1\n");
  EXPECT_EQ(shutdown.code, 0) << "a connection that ends is the answer: " << shutdown.err;
  EXPECT_EQ(server.received(), (std::vector<Words>{{"QUIT"}, {"SHUTDOWN"}}));
}

TEST(CommandsFile, ALostSupervisorIsCannotAttachWithTheLine) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words& words) { return words[0] == "DIE" ? "" : kOk; }};
  const Done done = run_cachee(folder, {}, "SET a 1\nDIE\nSET b 2\n");
  EXPECT_EQ(done.code, 3);
  EXPECT_EQ(done.out, "OK\n");
  EXPECT_NE(done.err.find("line 2: "), std::string::npos) << done.err;
  EXPECT_NE(done.err.find(folder.path("default.sock")), std::string::npos) << done.err;
}

TEST(CommandsFile, ThousandsOfLinesAndLargeValuesPass) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer};
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "SET k" + std::to_string(i) + " v\n";
  text += "SET large " + std::string(3 << 20, 'x') + "\n";
  const Done done = run_cachee(folder, {}, text);
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out.size(), 3001 * 3U);
  EXPECT_EQ(server.received().back().at(2).size(), std::size_t{3} << 20);
}

TEST(Completion, KnowsCommandsAndSubcommands) {
  EXPECT_EQ(complete_command("trig"), (Words{"TRIGGER"}));
  EXPECT_EQ(complete_command("TRIGGER re"), (Words{"REGISTER", "REMOVE", "RESUME"}));
  EXPECT_EQ(complete_command("trigger dlq "), (Words{"HELP", "LIST", "PURGE", "REPLAY", "SHOW"}));
  EXPECT_EQ(complete_command("config "), (Words{"GET", "HELP", "SET"}));
  EXPECT_EQ(complete_command("group re"), (Words{"READ", "REMOVE"}));
  EXPECT_EQ(complete_command("slowlog "), (Words{"GET", "HELP", "LEN", "RESET"}));
  EXPECT_EQ(complete_command("log i"), (Words{"INFO"}));
  EXPECT_EQ(complete_command("COMMAND "), (Words{"COUNT", "DOCS", "HELP", "INFO", "LIST"}));
  EXPECT_EQ(complete_command("trigger dlq list "), (Words{}));
  EXPECT_EQ(complete_command("e"), (Words{"ECHO", "EXISTS", "EXPIRE", "EXPIREAT", "EXPIRETIME", "exit"}));
  EXPECT_EQ(complete_command("GET "), (Words{}));
  EXPECT_EQ(complete_command("zz"), (Words{}));
  EXPECT_GT(complete_command("").size(), 50U);
  EXPECT_EQ(complete_command("  pexpireti"), (Words{"PEXPIRETIME"}));
}

}  // namespace
}  // namespace cachee::cli::test
