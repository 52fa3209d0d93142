// Goal: the prompt on a terminal edits, completes, remembers, and reads heredocs. Method: the
// program under a pseudo terminal; what it should show is waited for, with a deadline.
#include <gtest/gtest.h>

#include <pty.h>

#include <chrono>
#include <csignal>

#include "support.hpp"

namespace cachee::cli::test {
namespace {

using Clock = std::chrono::steady_clock;

/// The program with a terminal of its own.
class Terminal {
 public:
  Terminal(const TemporaryFolder& folder, const Words& words) {
    winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    child_ = forkpty(&fd_, nullptr, nullptr, &size);
    if (child_ == 0) {
      setenv("CACHEE_RUNTIME_DIR", folder.path().c_str(), 1);
      setenv("HOME", folder.path().c_str(), 1);
      setenv("TERM", "xterm", 1);
      setenv("LC_ALL", "C.UTF-8", 1);
      std::vector<char*> arguments{const_cast<char*>("cachee")};
      for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
      arguments.push_back(nullptr);
      execv(CACHEE_PROGRAM, arguments.data());
      _exit(127);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(fd_);
  }

  void type(const std::string& keys) {
    EXPECT_EQ(write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /// Waits until the screen has shown `text` since the last call; returns what came.
  std::string wait_for(const std::string& text) {
    const auto deadline = Clock::now() + std::chrono::seconds{10};
    for (;;) {
      const std::size_t found = screen_.find(text);
      if (found != std::string::npos) {
        std::string seen = screen_.substr(0, found + text.size());
        screen_.erase(0, seen.size());
        return seen;
      }
      if (Clock::now() > deadline || !read_some()) {
        ADD_FAILURE() << "waited for \"" << text << "\"; the terminal showed:\n" << screen_;
        return screen_;
      }
    }
  }

  int wait_exit() {
    const auto deadline = Clock::now() + std::chrono::seconds{10};
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) {
        ADD_FAILURE() << "the program did not end; the terminal showed:\n" << screen_;
        return -1;
      }
      read_some();
    }
    child_ = -1;
    while (read_some()) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

  [[nodiscard]] const std::string& rest() const noexcept { return screen_; }

 private:
  /// False at the end of the terminal.
  bool read_some() {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 50) <= 0) return child_ > 0;
    std::array<char, 4096> buffer{};
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    if (count <= 0) return false;
    screen_.append(buffer.data(), static_cast<std::size_t>(count));
    return true;
  }

  int fd_ = -1;
  pid_t child_ = -1;
  std::string screen_{};
};

std::string answer(const Words& words) {
  if (words[0] == "GET") return bulk("v\n1");
  if (words[0] == "INCR") return integer(8);
  if (words[0] == "INFO") return bulk("# Server\r\nname:orders\r\n");
  if (words[0] == "BAD") return "-ERR unknown command 'BAD'\r\n";
  if (words[0] == "DIE") return "";
  return kOk;
}

TEST(Prompt, AnswersAreTypedAsInRedisCli) {
  const TemporaryFolder folder;
  const RespServer server{folder, answer, "orders"};
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
  const RespServer server{folder, answer};
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
  const RespServer server{folder, answer};
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
  const RespServer server{folder, answer};
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
  const RespServer server{folder, answer};
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
  const RespServer server{folder, answer};
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
  const RespServer server{folder, answer};
  Terminal terminal{folder, {}};
  terminal.wait_for("default> ");
  terminal.type("help\r");
  terminal.wait_for("<<LUA");
  terminal.wait_for("default> ");
  EXPECT_TRUE(server.received().empty());
}

}  // namespace
}  // namespace cachee::cli::test
