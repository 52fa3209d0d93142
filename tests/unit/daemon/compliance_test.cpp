// Goal: a committed log line is in its file exactly once, whatever happens to the file, the disk
// and the process in between.
// Method: real files; what a crash leaves is made by hand at each step of the protocol; a full disk
// is RLIMIT_FSIZE in a child process; kill -9 is store_kill_test's.
#include "compliance/log_writer.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compliance/log_chain.hpp"
#include "core/clock.hpp"
#include "support/temp_directory.hpp"
#include "unit/daemon/store_support.hpp"

namespace cachee::daemon {
namespace {

using test::TempDirectory;

std::string read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

std::string line(std::uint64_t seq) {
  return "{\"n\":" + std::to_string(seq) + ",\"_event\":\"" + event_id(seq) + "\"}\n";
}

std::string lines(std::uint64_t from, std::uint64_t end) {
  std::string out;
  for (std::uint64_t seq = from; seq < end; ++seq) out += line(seq);
  return out;
}

std::size_t count_descriptors() {
  const std::filesystem::directory_iterator all{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class LogWriterTest : public testing::Test {
 protected:
  void open(const LogRules& rules = {}) {
    writer_.reset();
    store_ = open_store(state_.path());
    auto writer = LogWriter::open(*store_, rules);
    ASSERT_TRUE(writer) << writer.failure().text;
    writer_ = std::move(*writer);
  }
  void log(std::uint64_t from, std::uint64_t end, const std::string& channel = "audit") {
    auto batch = store_->begin();
    for (std::uint64_t seq = from; seq < end; ++seq) {
      const std::string id = event_id(seq);
      ASSERT_TRUE(batch->add_effects({.event_id = id, .seq = seq, .trigger = "t"},
                                     {log_effect(channel, "{\"n\":" + std::to_string(seq) + "}")},
                                     1));
    }
    ASSERT_TRUE(batch->commit());
  }
  void flush() {
    auto done = writer_->flush();
    ASSERT_TRUE(done) << done.failure().text;
    ASSERT_TRUE(done->empty()) << done->front().failure.text;
  }
  [[nodiscard]] std::string path(const std::string& channel = "audit") const {
    return LogWriter::path(state_.path(), channel);
  }
  [[nodiscard]] std::string contents(const std::string& channel = "audit") const {
    return read_file(path(channel));
  }

  TempDirectory state_{TempDirectory::kMemory};
  std::unique_ptr<Store> store_{};
  std::unique_ptr<LogWriter> writer_{};
};

TEST_F(LogWriterTest, LinesOfABatchAreInTheirFilesAfterFlush) {
  open();
  log(0, 3);
  log(3, 5, "other.channel");
  EXPECT_FALSE(std::filesystem::exists(path()));
  flush();
  EXPECT_EQ(contents(), lines(0, 3));
  EXPECT_EQ(contents("other.channel"), lines(3, 5));
  EXPECT_EQ(writer_->counters().lines, 5u);
  EXPECT_EQ(writer_->counters().syncs, 2u);  // one for each file
  log(5, 6);
  flush();
  flush();
  EXPECT_EQ(contents(), lines(0, 3) + lines(5, 6));
}

TEST_F(LogWriterTest, PathsAreOfChannelsOnly) {
  EXPECT_EQ(LogWriter::path("/s/default", "audit"), "/s/default/log/audit.jsonl");
  EXPECT_EQ(LogWriter::path("/s/default", "../x"), "");
  EXPECT_EQ(LogWriter::path("/s/default", ""), "");
}

TEST_F(LogWriterTest, LinesCommittedBeforeACrashAreWrittenAtTheNextStart) {
  open();
  log(0, 2);
  flush();
  log(2, 5);
  open();
  EXPECT_EQ(contents(), lines(0, 5));
}

TEST_F(LogWriterTest, TornTailsOfEveryLengthArePutRight) {
  open();
  log(0, 2);
  flush();
  const std::string settled = lines(0, 2);
  std::uint64_t next = 2;
  for (std::size_t torn = 0; torn <= lines(next, next + 2).size(); torn += 7) {
    // L2 happened up to some byte, L4 did not.
    log(next, next + 2);
    const std::string before = lines(0, next);
    ASSERT_EQ(contents(), before);
    std::ofstream{path(), std::ios::app} << lines(next, next + 2).substr(0, torn);
    open();
    next += 2;
    ASSERT_EQ(contents(), lines(0, next)) << torn;
  }
}

TEST_F(LogWriterTest, TornFirstWriteIsPutRight) {
  open();
  log(0, 2);
  // L2 of a new channel: its length was taken down before [LG-3].
  ASSERT_TRUE(store_->set_log_file({"audit", 0}));
  std::ofstream{path(), std::ios::app} << lines(0, 2).substr(0, 9);
  open();
  EXPECT_EQ(contents(), lines(0, 2));
}

TEST_F(LogWriterTest, UnsettledTailWhileRunningIsPutRight) {
  open();
  log(0, 2);
  flush();
  std::ofstream{path(), std::ios::app} << "{\"to";
  log(2, 3);
  flush();
  EXPECT_EQ(contents(), lines(0, 3));
}

TEST_F(LogWriterTest, FileFromBeforeTheStoreIsContinued) {
  open();
  std::ofstream{path()} << "{\"old\":1}\n";
  log(0, 1);
  flush();
  EXPECT_EQ(contents(), "{\"old\":1}\n" + line(0));
}

TEST_F(LogWriterTest, RenamedFileStaysAndANewOneBegins) {
  open();
  log(0, 2);
  flush();
  std::filesystem::rename(path(), path() + ".1");
  log(2, 4);
  flush();
  EXPECT_EQ(read_file(path() + ".1"), lines(0, 2));
  EXPECT_EQ(contents(), lines(2, 4));
  open();
  log(4, 5);
  flush();
  EXPECT_EQ(contents(), lines(2, 5));
}

TEST_F(LogWriterTest, FileRenamedWhileStoppedStaysAndANewOneBegins) {
  open();
  log(0, 2);
  flush();
  writer_.reset();
  std::filesystem::rename(path(), path() + ".1");
  open();
  log(2, 4);
  flush();
  EXPECT_EQ(read_file(path() + ".1"), lines(0, 2));
  EXPECT_EQ(contents(), lines(2, 4));
}

TEST_F(LogWriterTest, TruncatedFileIsContinuedFromItsEnd) {
  open();
  log(0, 2);
  flush();
  std::filesystem::resize_file(path(), 0);
  log(2, 4);
  flush();
  EXPECT_EQ(contents(), lines(2, 4));
}

TEST_F(LogWriterTest, LargeFilesAreRotatedAndTheOldestGo) {
  open({.rotate_bytes = lines(0, 3).size(), .keep = 2});
  for (std::uint64_t seq = 0; seq < 9; ++seq) {
    log(seq, seq + 1);
    flush();
  }
  // Nine lines, three a file: at the tenth line the third file goes, too.
  EXPECT_EQ(contents(), lines(6, 9));
  EXPECT_EQ(read_file(path() + ".000001"), lines(0, 3));
  EXPECT_EQ(read_file(path() + ".000002"), lines(3, 6));
  EXPECT_EQ(writer_->counters().rotations, 2u);
  open({.rotate_bytes = lines(0, 3).size(), .keep = 2});
  log(9, 10);
  flush();
  EXPECT_EQ(log_files_of(path()), (std::vector<std::string>{path() + ".000002", path() + ".000003", path()}));
  EXPECT_EQ(read_file(path() + ".000003"), lines(6, 9));
  EXPECT_EQ(contents(), lines(9, 10));
}

TEST_F(LogWriterTest, OldFilesAreRotated) {
  constexpr std::int64_t kHourMs = 3'600'000;
  open({.rotate_ms = kHourMs});
  log(0, 2);
  flush();
  log(2, 3);
  flush();
  EXPECT_EQ(contents(), lines(0, 3));
  LogFile file = writer_->settled("audit");
  EXPECT_NEAR(static_cast<double>(file.begun_wall_ms), static_cast<double>(wall_ms()), 60'000);
  file.begun_wall_ms -= kHourMs + 60'000;  // as if the first line were so old
  ASSERT_TRUE(store_->set_log_file(file));
  open({.rotate_ms = kHourMs});
  log(3, 4);
  flush();
  EXPECT_EQ(read_file(path() + ".000001"), lines(0, 3));
  EXPECT_EQ(contents(), lines(3, 4));
}

TEST_F(LogWriterTest, AFileThatIsInTheWayOfARotationStays) {
  open({.rotate_bytes = 1});
  log(0, 1);
  flush();
  std::filesystem::create_directory(path() + ".18446744073709551615");  // the next number would be 0
  std::ofstream{path() + ".000000"} << "precious\n";
  log(1, 2);
  EXPECT_EQ(writer_->flush()->size(), 1u);
  EXPECT_EQ(read_file(path() + ".000000"), "precious\n");
  EXPECT_EQ(contents(), lines(0, 1));
  std::filesystem::remove(path() + ".18446744073709551615");
  flush();
  EXPECT_EQ(read_file(path() + ".000001"), lines(0, 1));
  EXPECT_EQ(contents(), lines(1, 2));
}

/// What is wrong with the chain through all files of a channel; empty: nothing.
std::vector<std::string> check_chain(const std::string& path, LogCheck& check) {
  std::vector<std::string> findings;
  for (const std::string& name : log_files_of(path)) {
    std::istringstream file{read_file(name)};
    for (std::string text; std::getline(file, text);) {
      if (auto why = check.take(text)) findings.push_back(*why);
    }
  }
  return findings;
}

TEST_F(LogWriterTest, TheChainGoesOnOverRotationsRestartsAndTornWrites) {
  const LogRules rules{.rotate_bytes = 400, .hash_chain = true};
  for (std::uint64_t seq = 0; seq < 20; seq += 2) {
    open(rules);
    log(seq, seq + 2);
    if (seq % 4 == 2) std::ofstream{path(), std::ios::app} << "{\"torn";
    flush();
    log(seq + 1000, seq + 1001);  // committed, and written by the next one
  }
  open(rules);
  LogCheck check;
  EXPECT_EQ(check_chain(path(), check), std::vector<std::string>{});
  EXPECT_EQ(check.lines(), 30u);
  EXPECT_EQ(check.without_hash(), 0u);
  EXPECT_TRUE(check.whole());
  EXPECT_EQ(check.head(), writer_->settled("audit").chain);
  EXPECT_GT(log_files_of(path()).size(), 3u);

  std::filesystem::remove(log_files_of(path()).front());
  LogCheck rest;
  EXPECT_EQ(check_chain(path(), rest), std::vector<std::string>{});
  EXPECT_FALSE(rest.whole());
}

TEST_F(LogWriterTest, AChainBeginsAndEndsWithTheRule) {
  open();
  log(0, 2);
  flush();
  open({.hash_chain = true});
  log(2, 4);
  flush();
  open();
  log(4, 5);  // the file has a chain already
  flush();
  LogCheck check;
  EXPECT_EQ(check_chain(path(), check), std::vector<std::string>{});
  EXPECT_EQ(check.without_hash(), 2u);
  EXPECT_EQ(check.head(), writer_->settled("audit").chain);
  std::filesystem::rename(path(), path() + ".old");
  log(5, 6);
  flush();
  EXPECT_EQ(contents(), lines(5, 6));
}

TEST(LogChainTest, EveryChangeIsFound) {
  LogChain chain;
  std::vector<std::string> good;
  for (std::uint64_t seq = 0; seq < 5; ++seq) {
    good.push_back(chain.append(line(seq)));
    good.back().pop_back();  // the line feed
  }
  const auto findings_of = [&](const std::vector<std::string>& all) {
    LogCheck check;
    std::size_t findings = 0;
    for (const std::string& text : all) findings += check.take(text) ? 1 : 0;
    return findings + (check.whole() ? 0 : 1) + (check.head() == chain.head() ? 0 : 1);
  };
  EXPECT_EQ(findings_of(good), 0u);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (std::size_t byte = 0; byte < good[at].size(); ++byte) {
      auto changed = good;
      changed[at][byte] ^= 1;
      EXPECT_GT(findings_of(changed), 0u) << at << ' ' << byte;
    }
    auto shorter = good;
    shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_GT(findings_of(shorter), 0u) << at;
    auto twice = good;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(at), good[at]);
    EXPECT_GT(findings_of(twice), 0u) << at;
    auto foreign = good;
    foreign.insert(foreign.begin() + static_cast<std::ptrdiff_t>(at) + 1, "{\"n\":9}");
    EXPECT_GT(findings_of(foreign), 0u) << at;
  }
}

TEST(LogChainTest, TheHashIsWhatTheDocumentSays) {
  LogChain chain;
  const std::string chained = chain.append("{\"n\":0}\n");
  // printf '%064d{"n":0}' 0 | sha256sum
  EXPECT_EQ(chained, "{\"n\":0,\"_chain\":\"" + chain.head() + "\"}\n");
  EXPECT_EQ(chain.head(), "83a765064a762804a1b7e22ebe4a87d3f0ead9e336400c07625ffeb4745cc048");
}

TEST_F(LogWriterTest, BadChannelDoesNotStopTheOthers) {
  open();
  std::filesystem::create_directory(path("blocked"));
  log(0, 1, "blocked");
  log(1, 2);
  auto done = writer_->flush();
  ASSERT_TRUE(done);
  ASSERT_EQ(done->size(), 1u);
  EXPECT_EQ(done->front().name, "blocked");
  EXPECT_NE(done->front().failure.text.find("blocked.jsonl"), std::string::npos) << done->front().failure.text;
  EXPECT_EQ(contents(), lines(1, 2));
  EXPECT_EQ(writer_->counters().failures, 1u);
  std::filesystem::remove(path("blocked"));
  flush();
  EXPECT_EQ(contents("blocked"), lines(0, 1));
}

TEST_F(LogWriterTest, FilesThatAreNotRegularAreRefused) {
  open();
  std::ofstream{state_.path() + "/elsewhere"} << "precious\n";
  std::filesystem::create_symlink(state_.path() + "/elsewhere", path());
  log(0, 1);
  EXPECT_EQ(writer_->flush()->size(), 1u);
  EXPECT_EQ(read_file(state_.path() + "/elsewhere"), "precious\n");
}

TEST_F(LogWriterTest, ManyChannelsNeedFewDescriptors) {
  open();
  auto batch = store_->begin();
  for (std::uint64_t n = 0; n < kLogFilesOpenMax + 8; ++n) {
    const std::string id = event_id(n), channel = "c" + std::to_string(n);
    ASSERT_TRUE(batch->add_effects({.event_id = id, .seq = n, .trigger = "t"},
                                   {log_effect(channel, "{\"n\":" + std::to_string(n) + "}")}, 1));
  }
  ASSERT_TRUE(batch->commit());
  const std::size_t before = count_descriptors();
  flush();
  EXPECT_EQ(count_descriptors(), before + kLogFilesOpenMax);
  log(500, 501, "c0");
  flush();
  EXPECT_EQ(contents("c0"), line(0) + line(500));
}

TEST_F(LogWriterTest, MoreLinesThanOneChunkAreAllWritten) {
  open();
  const std::string text(300'000, 'x');
  auto batch = store_->begin();
  for (std::uint64_t seq = 0; seq < 40; ++seq) {
    const std::string id = event_id(seq);
    ASSERT_TRUE(batch->add_effects({.event_id = id, .seq = seq, .trigger = "t"},
                                   {log_effect("audit", "{\"x\":\"" + text + "\"}")}, 1));
  }
  ASSERT_TRUE(batch->commit());
  flush();
  EXPECT_GT(std::filesystem::file_size(path()), 40 * text.size());
  EXPECT_GT(writer_->counters().syncs, 1u);
  const std::string all = contents();
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 40);
}

TEST_F(LogWriterTest, FullDiskIsAnErrorAndNothingIsLost) {
  // A child, because the limit is the process's; its exit code says which expectation failed.
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    auto store = Store::open({.directory = state_.path()});
    if (!store) ::_exit(2);
    auto writer = LogWriter::open(**store);
    if (!writer) ::_exit(3);
    const auto log_some = [&](std::uint64_t from, std::uint64_t end) {
      auto batch = (*store)->begin();
      for (std::uint64_t seq = from; batch && seq < end; ++seq) {
        const std::string id = event_id(seq);
        auto added =
            batch->add_effects({.event_id = id, .seq = seq, .trigger = "t"},
                               {log_effect("audit", "{\"n\":" + std::to_string(seq) + "}")}, 1);
        if (!added) ::_exit(4);
      }
      if (!batch || !batch->commit()) ::_exit(5);
    };
    log_some(0, 1000);
    if (!(*writer)->flush()->empty()) ::_exit(6);
    // More than the log may grow, while the database and its WAL (larger already) are overwritten
    // in place: the limit is put between.
    const auto log_bytes = std::filesystem::file_size(LogWriter::path(state_.path(), "audit"));
    log_some(1000, 2000);
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = log_bytes + 1000;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 3; ++i) {
      const auto full = (*writer)->flush();
      if (full->empty()) ::_exit(7);
      if (full->front().failure.code != Errc::no_space) ::_exit(8);
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    if (!(*writer)->flush()->empty()) ::_exit(9);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(contents(), lines(0, 2000));
}

}  // namespace
}  // namespace cachee::daemon
