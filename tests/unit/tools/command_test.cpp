// Goal: the command line is read as a user means it; what is wrong is named; exit codes are those
// of the help. Method: the program as a process, without a segment or against a server of the test.
#include "command_line.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace cachee::cli::test {
namespace {

constexpr int kNo = 1;
constexpr int kUsage = 2;
constexpr int kCannotAttach = 3;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The command line in this process, where it ends before it attaches to anything.
Done run_here(const Words& words) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Done done;
  done.code = run_command_line(words);
  done.out = testing::internal::GetCapturedStdout();
  done.err = testing::internal::GetCapturedStderr();
  return done;
}

/// A segment name that nobody has.
std::string nobody() { return "tools-test-none-" + std::to_string(getpid()); }

TEST(CommandTable, EveryCommandHasASummaryAnExampleAndAGroup) {
  for (const auto& command : command_table()) {
    EXPECT_FALSE(command.summary.empty()) << command.words;
    EXPECT_FALSE(command.summary.ends_with('.')) << command.words;
    EXPECT_LT(command.summary.size(), 80U) << command.words;
    EXPECT_TRUE(has(command.example, command.words)) << command.words;
    EXPECT_TRUE(command.group == kSegmentGroup || command.group == kSupervisorGroup)
        << command.words;
    Common common;
    const auto made = make_app(command, common);
    EXPECT_TRUE(made->run) << command.words;
    EXPECT_TRUE(has(made->app.help(), "Example:\n  ")) << command.words;
    for (const CLI::Option* option : made->app.get_options()) {
      EXPECT_FALSE(option->get_description().empty()) << command.words << " " << option->get_name();
    }
  }
}

TEST(CommandTable, HasEveryCommandOfTheInterface) {
  for (const char* words : {"get",
                            "set",
                            "del",
                            "exists",
                            "ttl",
                            "expire",
                            "incr",
                            "scan",
                            "stat",
                            "top",
                            "clients",
                            "slabs",
                            "ring",
                            "events",
                            "fsck",
                            "load",
                            "dump",
                            "bench",
                            "trigger register",
                            "trigger list",
                            "trigger show",
                            "trigger source",
                            "trigger test",
                            "trigger remove",
                            "trigger enable",
                            "trigger disable",
                            "trigger pause",
                            "trigger resume",
                            "trigger stats",
                            "trigger export",
                            "trigger import",
                            "dlq list",
                            "dlq show",
                            "dlq replay",
                            "dlq purge",
                            "outbox list",
                            "log",
                            "trace",
                            "verify"}) {
    EXPECT_TRUE(std::any_of(command_table().begin(), command_table().end(),
                            [&](const Command& command) { return command.words == words; }))
        << words;
  }
}

TEST(CommandLine, HelpAndVersionGoToStandardOutput) {
  const TemporaryFolder folder;
  for (const char* option : {"--help", "-h"}) {
    const Done done = run_cachee(folder, {option});
    EXPECT_EQ(done.code, 0);
    EXPECT_TRUE(has(done.out, "trigger register")) << done.out;
    EXPECT_EQ(done.err, "");
  }
  EXPECT_TRUE(has(run_cachee(folder, {"--version"}).out, "cachee "));
  const Done done = run_cachee(folder, {"trigger", "register", "--help"});
  EXPECT_EQ(done.code, 0);
  EXPECT_TRUE(has(done.out, "cachee trigger register [OPTIONS] pattern events file")) << done.out;
  EXPECT_TRUE(has(done.out, "Example:\n  cachee trigger register")) << done.out;
  EXPECT_TRUE(has(run_cachee(folder, {"dlq", "--help"}).out, "cachee dlq replay"));
}

TEST(CommandLine, WrongUsageIsNamedAndHasItsExitCode) {
  const std::vector<std::pair<Words, std::string>> cases{
      {{"gte", "k"}, "did you mean 'get'?"},
      {{"trigger"}, "register, list"},
      {{"trigger", "lsit"}, "did you mean 'trigger list'?"},
      {{"--bogus", "get"}, "--bogus"},
      {{"get", "--bogus", "k"}, "--bogus"},
      {{"get"}, "key"},
      {{"get", "a", "b"}, "b"},
      {{"-n"}, "name"},
      {{"-n", "Bad!", "get", "k"}, "Bad!"},
      {{"-n", std::string(65, 'a'), "get", "k"}, "segment"},
      {{"set", "k", "v", "--ttl", "5parsecs"}, "5parsecs"},
      {{"set", "k", "v", "--cost", "-1"}, "--cost"},
      {{"set", "k", "v", "--cost", "much"}, "much"},
      {{"set", "k", "v", "--cost", "inf"}, "--cost: 'inf': expected a positive number"},
      {{"set", "k", "v", "--cost", "1e999"}, "--cost: '1e999': expected a positive number"},
      {{"set", "k", "v", "--cost", "nan"}, "--cost: 'nan': expected a positive number"},
      {{"set", "k", "v", "--cost", "0"}, "--cost: '0': expected a positive number"},
      {{"set", "k", "v", "--cost", "0x10"}, "--cost: '0x10': expected a positive number"},
      {{"set", "k", "v", "--cost", ""}, "--cost: '': expected a positive number"},
      {{"set", "k", "v", "--nx", "--xx"}, "--xx"},
      {{"set", "k", "v", "--meta", "novalue"}, "novalue"},
      {{"set", "k", "v", "--if-version", "x"}, "--if-version: 'x': expected a whole number"},
      {{"set", "k", "v", "--keep-ttl", "--ttl", "5"}, "--ttl excludes --keep-ttl"},
      {{"set", "k", "v", "--ttl", "40000d"}, "--ttl: '40000d' is too long: at most 36525d"},
      {{"expire", "k", "40000d"}, "ttl: '40000d' is too long"},
      {{"expire", "k", "soon"}, "soon"},
      {{"incr", "k", "x"}, "by: 'x': expected a whole number from -9223372036854775808 to 9223372036854775807"},
      {{"trigger", "register", "a", "ON_WRITE", "f", "--backoff", "10ms"}, "--backoff: expected 2 values, not 1"},
      {{"trigger", "register", "a", "ON_WRITE", "f", "--backoff", "1s", "2s", "--backoff", "3s", "4s"},
       "--backoff: expected 2 values, not 4"},
      {{"trigger", "register", "a", "ON_WRITE", "/dev/null", "--memory", "16mibs"}, "--memory: '16mibs'"},
      {{"bench", "--seconds", "0"}, "--seconds: '0': expected a number from 0.01 to 3600"},
      {{"bench", "--seconds", "nan"}, "--seconds: 'nan': expected a number from 0.01 to 3600"},
      {{"-n", ".", "get", "k"}, "'.' cannot name a segment: use 1 to 64"},
      {{"-n", "..", "PING"}, "'..' cannot name a segment"},
      {{"-n", "a.locks", "get", "k"}, "not ending in .locks"},
      {{"pign"}, "unknown command 'pign': did you mean 'ping'?"},
      {{"KEYZ", "*"}, "unknown command 'KEYZ': did you mean 'keys'?"},
      {{"CLIENTX"}, "unknown command 'CLIENTX'"},
      {{"trigger", "lst", "x"}, "did you mean 'trigger list'?"},
      {{"bench", "guess"}, "guess"},
      {{"bench", "--value-bytes", "12XB"}, "12XB"},
      {{"bench", "--threads", "0"}, "--threads: '0': expected a whole number from 1 to 256"},
      {{"log", "../secrets"}, "channel"},
      {{"log", ""}, "channel"},
      {{"top", "--interval", "often"}, "often"}};
  for (const auto& [words, part] : cases) {
    const Done done = run_here(words);
    EXPECT_EQ(done.code, kUsage) << words[0] << ": " << done.err;
    EXPECT_TRUE(has(done.err, part)) << part << " in: " << done.err;
    EXPECT_TRUE(done.err.starts_with("cachee: ")) << done.err;
    EXPECT_EQ(done.out, "");
  }
}

// Whatever CLI11 would make of them: the nearest limit, octal, hexadecimal, zero.
TEST(CommandLine, ANumberIsReadAsItStandsOrRefused) {
  const std::vector<Words> places{{"incr", "k"},
                                  {"set", "k", "v", "--if-version"},
                                  {"del", "k", "--if-version"},
                                  {"scan", "--limit"},
                                  {"events", "--limit"},
                                  {"log", "audit", "--lines"},
                                  {"bench", "--keys"},
                                  {"bench", "--threads"},
                                  {"bench", "--write-percent"},
                                  {"trigger", "register", "k", "ON_WRITE", "/dev/null", "--priority"},
                                  {"trigger", "register", "k", "ON_WRITE", "/dev/null", "--retry"},
                                  {"trigger", "register", "k", "ON_WRITE", "/dev/null", "--steps"},
                                  {"trigger", "register", "k", "ON_WRITE", "/dev/null", "--sample"},
                                  {"trigger", "register", "k", "ON_WRITE", "/dev/null", "--max-depth"}};
  for (const auto& place : places) {
    const std::string name = place.back().starts_with("--") ? place.back() : "by";
    const bool negative = name == "by" || name == "--priority";
    for (const char* number : {"99999999999999999999", "-99999999999999999999", "010", "0x10", "", "1e3", "1.5", "+1",
                               " 1", "{}", negative ? "x" : "-1"}) {
      Words words = place;
      words.emplace_back(number);
      const Done done = run_here(words);
      EXPECT_EQ(done.code, kUsage) << place[0] << " " << name << " '" << number << "'";
      EXPECT_TRUE(has(done.err, name + ": '" + number + "': expected a whole number from ")) << done.err;
    }
  }
}

TEST(CommandLine, EveryOptionThatTakesANumberIsReadByOurOwnReaders) {
  for (const auto& command : command_table()) {
    Common common;
    const auto made = make_app(command, common);
    for (const CLI::Option* option : made->app.get_options()) {
      for (const char* kind : {"INT", "UINT", "FLOAT"}) {
        EXPECT_FALSE(option->get_type_name().starts_with(kind)) << command.words << " " << option->get_name();
      }
    }
  }
}

TEST(CommandLine, WithoutASegmentItSaysHowToStartOne) {
  const TemporaryFolder folder;
  const std::string name = nobody();
  for (const auto& words :
       std::vector<Words>{{"get", "k"}, {"set", "k", "v"}, {"stat"}, {"fsck"}, {"scan"}, {"top"}}) {
    Words all{"-n", name};
    all.insert(all.end(), words.begin(), words.end());
    const Done done = run_cachee(folder, all);
    EXPECT_EQ(done.code, kCannotAttach) << words[0];
    EXPECT_TRUE(
        has(done.err, "no segment '" + name + "': start it with `cacheed --name " + name + "`"))
        << done.err;
  }
}

TEST(CommandLine, WithoutASupervisorItNamesTheSocket) {
  const TemporaryFolder folder;
  for (const auto& words : std::vector<Words>{{"trigger", "list"}, {"verify"}, {"dlq", "list"}}) {
    const Done done = run_cachee(folder, words);
    EXPECT_EQ(done.code, kCannotAttach);
    EXPECT_TRUE(has(done.err, folder.path("default.sock"))) << done.err;
    EXPECT_TRUE(has(done.err, "`cacheed`")) << done.err;
  }
  for (const auto& words : std::vector<Words>{{"ping"}, {"GET", "a"}, {"trigger", "dlq", "list"}}) {
    const Done done = run_cachee(folder, words);
    EXPECT_EQ(done.code, kCannotAttach) << words[0];
    EXPECT_TRUE(has(done.err, folder.path("default.sock"))) << done.err;
  }
  const Done far = run_cachee(folder, {"verify", "--runtime-dir", std::string(200, 'x')});
  EXPECT_EQ(far.code, kCannotAttach);
  EXPECT_TRUE(has(far.err, "CACHEE_RUNTIME_DIR")) << far.err;
}

TEST(CommandLine, WordsArriveAsTheyWereGiven) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return kOk; }};
  const std::vector<std::string> names{"[a,b]", "[]",      "++",    "stat",     "k=v", "",   "a b",
                                       "\x01x", "\x01[a]", "{a,b}", "\xff\xfe", "%s",  "-5", "'q'"};
  std::vector<Words> expected;
  for (const auto& name : names) {
    // One takes a list of words, the other a single one.
    const bool list = expected.size() % 2 == 0;
    const Words given =
        list ? Words{"trigger", "test", name, "{}"} : Words{"trigger", "remove", name};
    EXPECT_EQ(run_cachee(folder, given).code, 0) << name;
    expected.push_back(list ? Words{"TRIGGER", "TEST", name, "{}"}
                            : Words{"TRIGGER", "REMOVE", name});
  }
  EXPECT_EQ(run_cachee(folder, {"trigger", "remove", "[a,b]"}).code, 0);
  expected.push_back({"TRIGGER", "REMOVE", "[a,b]"});
  EXPECT_EQ(run_cachee(folder, {"trigger", "remove", "--", "-x"}).code, 0);
  expected.push_back({"TRIGGER", "REMOVE", "-x"});
  EXPECT_EQ(server.received(), expected);
}

TEST(CommandLine, GroupCommandsSayTheWordsOfTheCommandLanguage) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words& words) { return words[1] == "LIST" ? array({}) : kOk; }};
  for (const auto& words : std::vector<Words>{{"group", "create", "auth", "s:*", "ON_EXPIRE"},
                                              {"group", "create", "auth", "s:*", "ON_EXPIRE", "RETRY", "8", "DISABLED"},
                                              {"group", "list"},
                                              {"group", "show", "auth"},
                                              {"group", "remove", "auth"}}) {
    const Done done = run_cachee(folder, words);
    EXPECT_EQ(done.code, 0) << words[1] << ": " << done.err;
  }
  const std::vector<Words> expected{{"GROUP", "CREATE", "auth", "s:*", "ON_EXPIRE"},
                                    {"GROUP", "CREATE", "auth", "s:*", "ON_EXPIRE", "RETRY", "8", "DISABLED"},
                                    {"GROUP", "LIST"},
                                    {"GROUP", "INFO", "auth"},
                                    {"GROUP", "REMOVE", "auth"}};
  EXPECT_EQ(server.received(), expected);
}

TEST(CommandLine, ACommandOfTheLanguageIsSentAsItIs) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words& words) -> std::string {
                            if (words[0] == "mget") return array({bulk("1"), "$-1\r\n"});
                            if (words[0] == "dbsize") return integer(7);
                            if (words[0] == "KEYS") return "-ERR no\r\n";
                            return words[0] == "SHUTDOWN" ? "" : kOk;
                          }};
  const std::vector<Words> sent{{"mget", "a", "b"},
                                {"GET", "a"},
                                {"Get", "a"},
                                {"SET", "k", "[a,b]", "--json", "-n", "x", "--", "-h"},
                                {"SET", "k", "\x01", ""},
                                {"invalidate", "a"},
                                {"DEL", "--help", "b"},
                                {"TRIGGER", "LIST"},
                                {"trigger", "LIST"},
                                {"trigger", "dlq", "list"},
                                {"group", "help"},
                                {"LOG", "TAIL", "audit"},
                                {"SHUTDOWN"}};
  for (const auto& words : sent) {
    const Done done = run_cachee(folder, words);
    EXPECT_EQ(done.code, 0) << words[0] << ": " << done.err;
    EXPECT_EQ(done.out, words[0] == "mget" ? "1\n\n" : words[0] == "SHUTDOWN" ? "" : "OK\n") << words[0];
    EXPECT_EQ(done.err, "");
  }
  EXPECT_EQ(server.received(), sent);

  EXPECT_EQ(run_cachee(folder, {"--json", "mget", "a", "b"}).out, "[\"1\",null]\n");
  EXPECT_EQ(run_cachee(folder, {"--json", "dbsize"}).out, "7\n");
  const Done refused = run_cachee(folder, {"KEYS", "*"});
  EXPECT_EQ(refused.code, kNo);
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(refused.err, "cachee: (error) ERR no\n");
  EXPECT_EQ(run_cachee(folder, {"--json", "KEYS", "*"}).out, "{\"error\":\"ERR no\"}\n");
  const std::size_t asked = server.received().size();
  const Done help = run_cachee(folder, {"keys", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_TRUE(has(help.out, "COMMAND DOCS KEYS")) << help.out;
  EXPECT_EQ(server.received().size(), asked) << "help is not sent";
}

TEST(CommandLine, CommonOptionsStandBeforeOrAfterTheCommand) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return bulk("text"); }, "orders"};
  for (const auto& words : std::vector<Words>{{"-n", "orders", "--json", "trigger", "source", "t"},
                                              {"trigger", "source", "t", "-n", "orders", "--json"},
                                              {"--name=orders", "trigger", "source", "--json", "t"},
                                              {"-norders", "--json", "trigger", "source", "t"}}) {
    const Done done = run_cachee(folder, words);
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, "{\"name\":\"t\",\"source\":\"text\"}\n");
  }
}

TEST(CommandLine, RuntimeDirIsWhereTheOptionSays) {
  const TemporaryFolder folder;
  const TemporaryFolder other;
  const RespServer server{other, [](const Words&) { return array({}); }};
  EXPECT_EQ(run_cachee(folder, {"verify"}).code, kCannotAttach);
  EXPECT_EQ(run_cachee(folder, {"verify", "--runtime-dir", other.path()}).code, 0);
}

TEST(CommandLine, AFullDiskIsNamed) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return bulk(std::string(100000, 'x')); }};
  for (const char* words : {" --help", " trigger source t"}) {
    const std::string command = "CACHEE_RUNTIME_DIR=" + folder.path() + " " CACHEE_PROGRAM + words +
                                " > /dev/full 2> " + folder.path("err");
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), kNo) << words;
    EXPECT_EQ(read_file(folder.path("err")),
              "cachee: cannot write to standard output: No space left on device\n")
        << words;
  }
}

TEST(Completion, BashKnowsCommandsVerbsAndOptions) {
  const auto complete = [](const std::string& words, int index) {
    const std::string script = "source '" CACHEE_DOC_DIR "/cachee.bash'; COMP_WORDS=(" + words +
                               "); COMP_CWORD=" + std::to_string(index) +
                               "; _cachee; echo \"${COMPREPLY[*]}\"";
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe{
        popen(("bash -c '" +
               [&] {
                 std::string quoted;
                 for (const char c : script)
                   quoted += c == '\'' ? std::string{"'\\''"} : std::string{c};
                 return quoted;
               }() +
               "' 2>&1")
                  .c_str(),
              "r"),
        pclose};
    std::string text;
    std::array<char, 4096> buffer{};
    while (fgets(buffer.data(), static_cast<int>(buffer.size()), pipe.get()) != nullptr)
      text += buffer.data();
    return text;
  };
  EXPECT_EQ(complete("cachee tr", 1), "trigger trace\n");
  EXPECT_EQ(complete("cachee trigger re", 2), "register remove resume\n");
  EXPECT_EQ(complete("cachee -n orders trigger li", 4), "list\n");
  EXPECT_EQ(complete("cachee set --if", 2), "--if-version\n");
  EXPECT_EQ(complete("cachee trigger register --ba", 3), "--backoff\n");
  EXPECT_EQ(complete("cachee --ver", 1), "--version\n");
}

}  // namespace
}  // namespace cachee::cli::test
