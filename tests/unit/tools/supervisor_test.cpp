// Goal: the commands that ask the supervisor send what the command language says and judge its
// answers. Method: the program as a process against a server of the test; the answers have the
// shape that the daemon gives (control/commands/triggers.cpp).
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>

#include "support.hpp"

namespace cachee::cli::test {
namespace {

std::string row(const std::string& name, int emitted, int acknowledged, int dead) {
  std::vector<std::string> items{bulk("name"), bulk(name)};
  const std::vector<std::pair<const char*, int>> figures{
      {"emitted", emitted}, {"acknowledged", acknowledged},
      {"in_flight", 0},     {"retry", 0},
      {"spooled", 0},       {"dead", dead},
      {"shed", 0}};
  for (const auto& [figure, count] : figures) {
    items.push_back(bulk(figure));
    items.push_back(integer(count));
  }
  items.push_back(bulk("adds_up"));
  items.push_back(integer(1));  // what the supervisor says of itself is not what is judged
  return array(items);
}

TEST(TriggerRegister, SendsTheWordsOfTheLanguage) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return kOk; }};
  write_file(folder.path("t.lua"), "return\n");
  EXPECT_EQ(
      run_cachee(folder, {"trigger", "register", "k:*", "ON_WRITE,ON_DELETE", folder.path("t.lua")})
          .out,
      "OK\n");
  EXPECT_EQ(run_cachee(folder, {"trigger", "register",  "k:*",        "ON_READ",   "-",
                                "--name",  "reads",     "--priority", "-3",        "--on-full",
                                "shed",    "--retry",   "8",          "--backoff", "100ms",
                                "30s",     "--timeout", "1.5s",       "--memory",  "4MiB",
                                "--steps", "500",       "--sample",   "100",       "--max-depth",
                                "2",       "--disabled"},
                       "local x\n")
                .code,
            0);
  EXPECT_EQ(
      run_cachee(folder, {"trigger", "register", "k:*", "ON_WRITE", "-", "--on-full", "2s"}).code,
      0);
  EXPECT_EQ(server.received(),
            (std::vector<Words>{
                {"TRIGGER", "REGISTER", "k:*", "ON_WRITE,ON_DELETE", "return\n"},
                {"TRIGGER", "REGISTER", "k:*",      "ON_READ", "NAME",     "reads",    "PRIORITY",
                 "-3",      "ON_FULL",  "SHED",     "RETRY",   "8",        "BACKOFF",  "100ms",
                 "30000ms", "TIMEOUT",  "1500",     "MEMORY",  "4194304",  "STEPS",    "500",
                 "SAMPLE",  "100",      "MAXDEPTH", "2",       "DISABLED", "local x\n"},
                {"TRIGGER", "REGISTER", "k:*", "ON_WRITE", "ON_FULL", "BLOCK", "2000", ""}}));
}

TEST(TriggerRegister, ARefusalIsPrintedAsItIsAndExitsOne) {
  const TemporaryFolder folder;
  const RespServer server{folder,
                          [](const Words&) { return "-ERR 1: unexpected symbol near 'if'\r\n"; }};
  const Done done = run_cachee(folder, {"trigger", "register", "k:*", "ON_WRITE", "-"}, "if if");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.err, "cachee: 1: unexpected symbol near 'if'\n");
}

TEST(TriggerRegister, AFileThatIsNotThereIsNamed) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return kOk; }};
  const Done done = run_cachee(folder, {"trigger", "register", "k:*", "ON_WRITE", "/no/such.lua"});
  EXPECT_EQ(done.code, 1);
  EXPECT_NE(done.err.find("/no/such.lua: No such file"), std::string::npos) << done.err;
  EXPECT_TRUE(server.received().empty());
}

TEST(TriggerList, IsATableAndJson) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) {
                            return array({array({bulk("enabled"), integer(1), bulk("name"),
                                                 bulk("a"), bulk("priority"), integer(5)}),
                                          array({bulk("enabled"), integer(0), bulk("name"),
                                                 bulk("b"), bulk("priority"), integer(0)})});
                          }};
  EXPECT_EQ(run_cachee(folder, {"trigger", "list"}).out,
            "name  enabled  priority\na     yes             5\nb     no              0\n");
  EXPECT_EQ(
      run_cachee(folder, {"trigger", "list", "--json"}).out,
      R"([{"name":"a","enabled":true,"priority":5},{"name":"b","enabled":false,"priority":0}])"
      "\n");
}

TEST(TriggerShow, HasTheSourceBelow) {
  const TemporaryFolder folder;
  const RespServer server{
      folder, [](const Words& words) {
        return words[1] == "INFO" ? array({bulk("name"), bulk("t")}) : bulk("line 1\nline 2\n");
      }};
  EXPECT_EQ(run_cachee(folder, {"trigger", "show", "t"}).out,
            "name  t\nsource\n  line 1\n  line 2\n");
}

TEST(TriggerTest, ExitsOneWhenTheHandlerFails) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words& words) {
                            return bulk(words[2] == "good" ? R"({"ok":true,"effects":[]})"
                                                           : R"({"ok":false,"error":"boom"})");
                          }};
  write_file(folder.path("event.json"), R"({"key":"k"})");
  EXPECT_EQ(run_cachee(folder, {"trigger", "test", "good", folder.path("event.json")}).code, 0);
  const Done bad = run_cachee(folder, {"trigger", "test", "bad", "-"}, R"({"key":"stdin"})");
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.out.find("boom"), std::string::npos);
  EXPECT_EQ(server.received(),
            (std::vector<Words>{{"TRIGGER", "TEST", "good", R"({"key":"k"})"},
                                {"TRIGGER", "TEST", "bad", R"({"key":"stdin"})"}}));
}

TEST(TriggerExport, GoesThroughAPipeIntoImport) {
  const TemporaryFolder folder;
  const std::string text = "TRIGGER REGISTER k:* ON_WRITE <<LUA\nreturn\nLUA\n";
  const RespServer server{
      folder, [&](const Words& words) { return words[1] == "EXPORT" ? bulk(text) : integer(1); }};
  const Done exported = run_cachee(folder, {"trigger", "export"});
  EXPECT_EQ(exported.out, text);
  EXPECT_EQ(run_cachee(folder, {"trigger", "import", "-"}, exported.out).out, "1\n");
  EXPECT_EQ(server.received().back(), (Words{"TRIGGER", "IMPORT", text}));
}

TEST(Verify, AddsUpByItself) {
  const TemporaryFolder folder;
  int acknowledged = 8;
  const RespServer server{folder, [&](const Words&) {
                            return array({row("good", 5, 5, 0), row("other", 10, acknowledged, 2)});
                          }};
  const Done good = run_cachee(folder, {"verify"});
  EXPECT_EQ(good.code, 0) << good.out << good.err;
  EXPECT_EQ(good.err, "");
  acknowledged = 7;
  const Done bad = run_cachee(folder, {"verify", "--json"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("does not add up"), std::string::npos) << bad.err;
  EXPECT_NE(bad.out.find(R"({"adds_up":false,"triggers":[{"name":"good","emitted":5,)"),
            std::string::npos)
      << bad.out;
  EXPECT_NE(bad.out.find(R"("shed":0,"adds_up":false}]})"), std::string::npos) << bad.out;
}

TEST(Verify, WithoutTriggersThereIsNothingWrong) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return array({}); }};
  EXPECT_EQ(run_cachee(folder, {"verify"}).code, 0);
}

std::string letter() {
  return array({bulk("error"), bulk("boom"), bulk("id"), bulk("17"), bulk("payload"),
                bulk(R"({"key":"k","value":"{}"})"), bulk("traceback"), bulk("boom\nstack"),
                bulk("wall_ms"), integer(1000)});
}

TEST(DeadLetters, AreListedShownReplayedAndPurged) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words& words) {
                            if (words[2] == "LIST") return array({letter()});
                            if (words[2] == "SHOW") return letter();
                            return integer(words[3] == "all" ? 3 : words[3] == "17" ? 1 : 0);
                          }};
  EXPECT_EQ(run_cachee(folder, {"--json", "dlq", "list"}).out,
            R"([{"id":"17","error":"boom","payload":{"key":"k","value":"{}"},)"
            R"("traceback":"boom\nstack","wall_ms":1000,"key":"k"}])"
            "\n");
  EXPECT_EQ(run_cachee(folder, {"dlq", "list"}).out,
            "id                  wall_ms  key  error\n17  1970-01-01 00:00:01.000  k    boom\n");
  EXPECT_EQ(run_cachee(folder, {"dlq", "show", "17"}).out,
            "id       17\nerror    boom\npayload\n  key    k\n  value  {}\ntraceback\n  boom\n  "
            "stack\nwall_ms  1970-01-01 00:00:01.000\nkey      k\n");
  EXPECT_EQ(run_cachee(folder, {"dlq", "replay", "all"}).out, "3\n");
  EXPECT_EQ(run_cachee(folder, {"dlq", "purge", "17"}).code, 0);
  EXPECT_EQ(run_cachee(folder, {"dlq", "purge", "99"}).code, 1);
}

TEST(TriggerStats, FiguresHaveTheirUnits) {
  const TemporaryFolder folder;
  const RespServer server{
      folder, [](const Words&) {
        return array({bulk("ok"), integer(5), bulk("run_us_mean"), bulk("12.5"),
                      bulk("memory_peak_bytes"), integer(2048), bulk("last_error"), bulk("404")});
      }};
  EXPECT_EQ(run_cachee(folder, {"trigger", "stats", "t", "--json"}).out,
            R"({"ok":5,"run_us_mean":12.5,"memory_peak_bytes":2048,"last_error":"404"})"
            "\n");
  EXPECT_EQ(run_cachee(folder, {"trigger", "stats", "t"}).out,
            "ok                 5\nrun_us_mean        12.5us\nmemory_peak_bytes  2.0 KiB\n"
            "last_error         404\n");
}

TEST(Trace, OfAnUnknownChainIsNo) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return array({}); }};
  EXPECT_EQ(run_cachee(folder, {"trace", "x-1"}).code, 1);
}

TEST(Supervisor, WhatItCannotAnswerIsNotWaitedForWithSilence) {
  const TemporaryFolder folder;
  const RespServer server{folder, [](const Words&) { return ""; }};
  const Done done = run_cachee(folder, {"outbox", "list"});
  EXPECT_EQ(done.code, 3);
  EXPECT_NE(done.err.find("lost the supervisor"), std::string::npos) << done.err;
}

std::string make_log(const TemporaryFolder& folder, const std::string& text) {
  const std::string path = folder.path("state/default/log");
  std::filesystem::create_directories(path);
  write_file(path + "/audit.jsonl", text);
  return path + "/audit.jsonl";
}

TEST(Log, IsPrintedWholeOrFromItsEnd) {
  const TemporaryFolder folder;
  make_log(folder, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  EXPECT_EQ(run_cachee(folder, {"log", "audit"}).out, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  EXPECT_EQ(run_cachee(folder, {"log", "audit", "--lines", "2"}).out, "{\"n\":2}\n{\"n\":3}\n");
  EXPECT_EQ(run_cachee(folder, {"log", "audit", "--lines", "9"}).out.size(), 24U);
  EXPECT_EQ(run_cachee(folder, {"log", "audit", "--lines", "0"}).out, "");
}

TEST(Log, OfAnUnknownChannelIsNamed) {
  const TemporaryFolder folder;
  const Done done = run_cachee(folder, {"log", "nothing"});
  EXPECT_EQ(done.code, 1);
  EXPECT_NE(done.err.find("state/default/log/nothing.jsonl"), std::string::npos) << done.err;
}

TEST(Log, TheSupervisorKnowsWhereItsStateIs) {
  const TemporaryFolder folder;
  write_file(folder.path("elsewhere.jsonl"), "{}\n");
  const RespServer server{folder,
                          [&](const Words&) { return bulk(folder.path("elsewhere.jsonl")); }};
  EXPECT_EQ(run_cachee(folder, {"log", "audit"}).out, "{}\n");
  EXPECT_EQ(server.received(), (std::vector<Words>{{"LOG", "PATH", "audit"}}));
}

TEST(Log, FollowShowsNewLinesAndSurvivesRotation) {
  const TemporaryFolder folder;
  const std::string path = make_log(folder, "{\"n\":1}\n");
  const std::string out = folder.path("out");
  const pid_t child = fork();
  if (child == 0) {
    setenv("CACHEE_STATE_DIR", folder.path("state").c_str(), 1);
    if (freopen(out.c_str(), "w", stdout) == nullptr) _exit(126);
    execl(CACHEE_PROGRAM, "cachee", "log", "audit", "--follow", nullptr);
    _exit(127);
  }
  const auto expect_output = [&](const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (read_file(out) != text && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    EXPECT_EQ(read_file(out), text);
  };
  expect_output("{\"n\":1}\n");
  std::ofstream{path, std::ios::app} << "{\"n\":2}\n";
  expect_output("{\"n\":1}\n{\"n\":2}\n");
  std::filesystem::rename(path, path + ".1");
  write_file(path, "{\"n\":3}\n");
  expect_output("{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "Ctrl-C is how it ends";
}

}  // namespace
}  // namespace cachee::cli::test
