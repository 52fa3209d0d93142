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
  void open() {
    writer_.reset();
    store_ = open_store(state_.path());
    auto writer = LogWriter::open(*store_);
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

TEST_F(LogWriterTest, BadChannelDoesNotStopTheOthers) {
  open();
  std::filesystem::create_directory(path("blocked"));
  log(0, 1, "blocked");
  log(1, 2);
  auto done = writer_->flush();
  ASSERT_FALSE(done);
  EXPECT_NE(done.failure().text.find("blocked.jsonl"), std::string::npos) << done.failure().text;
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
  EXPECT_FALSE(writer_->flush());
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
    if (!(*writer)->flush()) ::_exit(6);
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
      auto full = (*writer)->flush();
      if (full) ::_exit(7);
      if (full.failure().code != Errc::no_space) ::_exit(8);
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    if (!(*writer)->flush()) ::_exit(9);
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
