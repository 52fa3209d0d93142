// Goal: the prompt on a terminal edits, completes, remembers, and reads heredocs. Method: the
// program under a pseudo terminal; what it should show is waited for, with a deadline.
#include <gtest/gtest.h>

#include "pseudo_terminal.hpp"
#include "support.hpp"

namespace cachee::cli::test {
namespace {

std::string prompt_answer(const Words& words) {
  if (words[0] == "GET") return bulk("v\n1");
  if (words[0] == "INCR") return integer(8);
  if (words[0] == "INFO") return bulk("# Server\r\nname:orders\r\n");
  if (words[0] == "BAD") return "-ERR unknown command 'BAD'\r\n";
  if (words[0] == "DIE") return "";
  return kOk;
}

TEST(Prompt, AnswersAreTypedAsInRedisCli) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer, "orders"};
  Terminal terminal{folder, {"-n", "orders"}};
  terminal.wait_for("orders> ");
  terminal.type("GET k\r");
  terminal.wait_for("\"v\\n1\"\r\n");
  terminal.type("INCR n\r");
  terminal.wait_for("(integer) 8");
  terminal.type("BAD\r");
  terminal.wait_for("(error) ERR unknown command 'BAD'");
  terminal.type("INFO\r");
  terminal.wait_for("name:orders");
  terminal.type("exit\r");
  EXPECT_EQ(terminal.wait_exit(), 0);
  EXPECT_EQ(server.received(),
            (std::vector<Words>{{"GET", "k"}, {"INCR", "n"}, {"BAD"}, {"INFO"}}));
}

TEST(Prompt, AHeredocIsReadLineByLine) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer};
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("TRIGGER REGISTER k:* ON_WRITE <<LUA\r");
  terminal.wait_for("... ");
  terminal.type("if a then\r");
  terminal.wait_for("... ");
  terminal.type("end\r");
  terminal.wait_for("... ");
  terminal.type("LUA\r");
  terminal.wait_for("OK");
  terminal.wait_for("default> ");
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait_exit(), 0);
  EXPECT_EQ(server.received(),
            (std::vector<Words>{{"TRIGGER", "REGISTER", "k:*", "ON_WRITE", "if a then\nend\n"}}));
}

TEST(Prompt, TabCompletesCommandNames) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer};
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("trig\tregi\tk:* ON_WRITE x\r");
  terminal.wait_for("OK");
  terminal.type("PEXP\t\t");  // the second Tab lists
  terminal.wait_for("PEXPIREAT");
  terminal.type(
      "\x15"
      "exit\r");
  EXPECT_EQ(terminal.wait_exit(), 0);
  EXPECT_EQ(server.received(),
            (std::vector<Words>{{"TRIGGER", "REGISTER", "k:*", "ON_WRITE", "x"}}));
}

TEST(Prompt, HistoryOutlivesThePromptAndHasNoPasswords) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer};
  {
    Terminal terminal{folder, {}};
    terminal.wait_for("default> ");
    terminal.type("SET remembered 1\r");
    terminal.wait_for("OK");
    terminal.type("AUTH secret\r");
    terminal.wait_for("OK");
    terminal.wait_for("default> ");
  }  // killed
  const std::string history = read_file(folder.path(".cachee_history"));
  EXPECT_NE(history.find("remembered"), std::string::npos) << history;
  EXPECT_EQ(history.find("secret"), std::string::npos) << history;
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("\x1b[A\r");  // arrow up
  terminal.wait_for("OK");
  EXPECT_EQ(server.received().back(), (Words{"SET", "remembered", "1"}));
}

TEST(Prompt, CtrlCGivesUpTheLineAndNotThePrompt) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer};
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("TRIGGER REGISTER k:* ON_WRITE <<LUA\r");
  terminal.wait_for("... ");
  terminal.type("half");
  terminal.wait_for("half");
  terminal.type("\x03");
  terminal.wait_for("default> ");
  terminal.type("SET a 1\r");
  terminal.wait_for("OK");
  EXPECT_EQ(server.received(), (std::vector<Words>{{"SET", "a", "1"}}));
}

TEST(Prompt, ASupervisorThatComesBackIsFoundAgain) {
  const TemporaryFolder folder;
  Terminal terminal{folder, {}};
  terminal.wait_for("no supervisor of 'default'");
  terminal.wait_for("default (not connected)> ");
  const RespServer server{folder, prompt_answer};
  terminal.type("SET a 1\r");
  terminal.wait_for("OK");
  terminal.wait_for("default> ");
  terminal.type("DIE\r");
  terminal.wait_for("lost the supervisor");
  terminal.wait_for("default (not connected)> ");
  terminal.type("SET b 2\r");
  terminal.wait_for("OK");
}

TEST(Prompt, HelpSaysHowToWriteCommands) {
  const TemporaryFolder folder;
  const RespServer server{folder, prompt_answer};
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("help\r");
  terminal.wait_for("<<LUA");
  terminal.wait_for("default> ");
  EXPECT_TRUE(server.received().empty());
}

}  // namespace
}  // namespace cachee::cli::test
