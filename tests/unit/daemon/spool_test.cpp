// Goal: what the spool took is there again, in order, whole frames or none, after every kind of end.
//
// Method: files in a temporary folder; ends are made by cutting and flipping bytes at every place, and
// a full disk by a limit on the size of files.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include <sys/resource.h>

#include "events/spool.hpp"
#include "support/temp_segment.hpp"

namespace cachee::daemon {
namespace {

class SpoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.directory = std::filesystem::temp_directory_path() / test::unique_name("cachee-spool");
    options_.free_bytes_min = 0;
  }
  void TearDown() override { std::filesystem::remove_all(options_.directory); }

  std::unique_ptr<Spool> open(std::uint64_t cursor = 0) {
    seen_.clear();
    auto spool = Spool::open(options_, cursor, [&](const SpoolRecord& r) { seen_.push_back(r.index); });
    EXPECT_TRUE(spool) << (spool ? "" : spool.failure().text);
    return spool ? std::move(*spool) : nullptr;
  }
  static SpoolRecord record(std::uint64_t seq, std::size_t value_bytes = 10) {
    SpoolRecord made;
    made.seq = seq;
    made.key_hash = seq * 7;
    made.triggers = {"a", "b"};
    made.shed = {"c"};
    made.event.id = "0123abcd-" + std::to_string(seq + 1);
    made.event.seq = seq;
    made.event.kind = EventKind::write;
    made.event.key = "k" + std::to_string(seq);
    made.event.value = std::string(value_bytes, static_cast<char>('a' + seq % 26));
    return made;
  }
  static Outcome<void> append(Spool& spool, std::uint64_t first, std::size_t count, std::size_t value_bytes = 10) {
    std::vector<SpoolRecord> records;
    for (std::size_t i = 0; i < count; ++i) records.push_back(record(first + i, value_bytes));
    return spool.append(records);
  }
  /// Reads on and checks every field; returns how many came.
  static std::uint64_t read_all(Spool& spool, std::uint64_t first, std::size_t value_bytes = 10) {
    for (std::uint64_t n = first;; ++n) {
      auto got = spool.read();
      EXPECT_TRUE(got) << (got ? "" : got.failure().text);
      if (!got || !*got) return n - first;
      const SpoolRecord want = record(n, value_bytes);
      EXPECT_EQ((*got)->index, n);
      EXPECT_EQ((*got)->seq, want.seq);
      EXPECT_EQ((*got)->key_hash, want.key_hash);
      EXPECT_EQ((*got)->triggers, want.triggers);
      EXPECT_EQ((*got)->shed, want.shed);
      EXPECT_EQ((*got)->event.id, want.event.id);
      EXPECT_EQ((*got)->event.value, want.event.value);
    }
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> all;
    for (const auto& entry : std::filesystem::directory_iterator{options_.directory}) all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all;
  }

  SpoolOptions options_;
  std::vector<std::uint64_t> seen_;
};

TEST_F(SpoolTest, WhatWasAppendedIsReadInOrderAlsoByTheNextProcess) {
  {
    auto spool = open();
    ASSERT_TRUE(append(*spool, 0, 3));
    EXPECT_EQ(read_all(*spool, 0), 3u);
    ASSERT_TRUE(append(*spool, 3, 5));
    EXPECT_EQ(read_all(*spool, 3), 5u);
  }
  auto spool = open(2);
  EXPECT_EQ(seen_.size(), 8u) << "a restart wants to know of events before the cursor as well";
  EXPECT_EQ(read_all(*spool, 2), 6u);
  EXPECT_EQ(spool->end(), 8u);
}

TEST_F(SpoolTest, FilesGoOnlyWhenTheirEventsAreOverAndReleased) {
  options_.file_bytes = 1000;
  auto spool = open();
  for (std::uint64_t n = 0; n < 40; n += 4) ASSERT_TRUE(append(*spool, n, 4, 100));
  const std::size_t all = files().size();
  ASSERT_GT(all, 4u);
  EXPECT_EQ(read_all(*spool, 0, 100), 40u);
  spool->forget(40, "0123abcd-", 0);
  EXPECT_EQ(files().size(), all) << "the ring still has their cells";
  spool->forget(10, "0123abcd-", 40);
  EXPECT_LT(files().size(), all);
  EXPECT_GT(files().size(), 1u);
  spool->forget(40, "0123abcd-", 40);
  EXPECT_TRUE(files().empty());
  // Numbers go on where they were.
  ASSERT_TRUE(append(*spool, 40, 2));
  EXPECT_EQ(read_all(*spool, 40), 2u);
  // Of another life of the segment nothing is in the ring.
  spool->forget(42, "ffffffff-", 0);
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(open(42)->end(), 42u) << "the cursor is what keeps numbers from coming again";
}

TEST_F(SpoolTest, ATornEndIsCutFrameByWholeFrame) {
  { ASSERT_TRUE(append(*open(), 0, 2)); }
  const auto path = files().at(0);
  const auto first = std::filesystem::file_size(path);
  { ASSERT_TRUE(append(*open(), 2, 2)); }
  std::ifstream in{path, std::ios::binary};
  const std::string whole{std::istreambuf_iterator<char>{in}, {}};
  // Every byte of the length and the first fields, then every seventh.
  for (std::size_t cut = first; cut < whole.size(); cut += cut < first + 32 ? 1 : 7) {
    std::ofstream{path, std::ios::binary | std::ios::trunc} << whole.substr(0, cut);
    auto spool = open();
    ASSERT_EQ(spool->end(), 2u) << cut;
    EXPECT_EQ(spool->lost(), 0u);
    ASSERT_EQ(std::filesystem::file_size(path), first) << cut;
    // And it can be written on.
    ASSERT_TRUE(append(*spool, 2, 2));
    ASSERT_EQ(read_all(*spool, 0), 4u);
  }
}

TEST_F(SpoolTest, AFlippedByteIsFoundWhereverItIs) {
  { ASSERT_TRUE(append(*open(), 0, 2)); }
  const auto path = files().at(0);
  std::ifstream in{path, std::ios::binary};
  const std::string whole{std::istreambuf_iterator<char>{in}, {}};
  for (std::size_t at = 0; at < whole.size(); at += at < 64 ? 1 : 5) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
    auto spool = open();
    EXPECT_EQ(seen_.size(), 0u) << "byte " << at;
    spool.reset();
    const std::filesystem::path aside = path.string() + ".damaged";
    if (at < 32) {
      EXPECT_TRUE(std::filesystem::remove(aside)) << "a damaged header is no reason to delete events, byte " << at;
    }
  }
}

TEST_F(SpoolTest, DamageInAnOlderFileIsCountedAndTheRestIsRead) {
  options_.file_bytes = 1;
  {
    auto spool = open();
    for (std::uint64_t n = 0; n < 3; ++n) ASSERT_TRUE(append(*spool, n, 1));
  }
  const auto path = files().at(1);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  auto spool = open();
  EXPECT_EQ(spool->lost(), 1u);
  auto got = spool->read();
  EXPECT_EQ((*got)->index, 0u);
  got = spool->read();
  EXPECT_EQ((*got)->index, 2u);
  spool->forget(3, "0123abcd-", 3);
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(files()[0].extension(), ".damaged") << "kept for whoever wants to look";
}

TEST_F(SpoolTest, AFullDiskLeavesNothingBehindAndIsOverWhenThereIsRoom) {
  auto spool = open();
  ASSERT_TRUE(append(*spool, 0, 1));
  const auto before = std::filesystem::file_size(files().at(0));
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const std::uint64_t room : {0, 1, 7, 8, 9, 100, 200}) {
    const rlimit tight{before + room, old.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const auto refused = append(*spool, 1, 2, 1000);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    ASSERT_FALSE(refused) << room;
    EXPECT_EQ(refused.failure().code, Errc::no_space);
    EXPECT_EQ(std::filesystem::file_size(files().at(0)), before) << room;
  }
  std::signal(SIGXFSZ, old_handler);
  ASSERT_TRUE(append(*spool, 1, 2));
  EXPECT_EQ(read_all(*spool, 0), 3u);
  options_.free_bytes_min = ~std::uint64_t{0};
  EXPECT_TRUE(append(*open(), 3, 1)) << "a sixteenth of the disk is all that is kept free";
}

}  // namespace
}  // namespace cachee::daemon
