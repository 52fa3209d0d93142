// LogWriter: the JSON-lines files of `cachee.log`, `<state>/<name>/log/<channel>.jsonl`.
//
// Use:   auto writer = LogWriter::open(*store);     // also puts right what a crash left
//        batch->commit();                           // now the lines are true
//        auto unwritten = (*writer)->flush();
//        acknowledge();                             // all but those of unwritten channels are in their files, on disk
//
// A line is the object that the handler logged, field for field, with the event's id added as the
// last field, "_event". (A handler that writes a field "_event" of its own keeps its own.)
//
// LOG FILE PROTOCOL
//   The store is the truth: a committed row is a line that is in its file exactly once.
//   L1  Batch::commit(): the rows are there, nothing is in the file yet.
//   L2  append the channel's rows at settled_bytes, in the order of their ids
//   L3  fdatasync, unless the store is not flushed either
//   L4  one transaction: settled_bytes grows by what was written, the rows go
//
// Invariants
//   [LG-1] The file's first settled_bytes bytes are whole lines of rows that are gone, in order.
//   [LG-2] What is behind them is the work of an L2 whose L4 did not happen; its rows are all
//          there.
//   [LG-3] settled_bytes of a channel is on disk before the first byte is written to its file.
//   [LG-4] A file that was rotated away has settled lines only, for good.
//
// Rotation, when the file is large or old enough and there is a line to write:
//   R1  the settled state is on disk: no loss of power undoes an L4 behind it [LG-4]
//   R2  rename `<channel>.jsonl` to `<channel>.jsonl.<number>`, the next number   R3  fsync the folder
//   R4  settled_bytes := 0, on disk; the chain goes on
//
//   Killed between   what is left                     who repairs
//   L1 and L2        rows                             the next flush()
//   L2 and L4        rows, and bytes past the end     open() cuts the file to settled_bytes [LG-2],
//                    of settled_bytes                 flush() writes the same lines again
//   after L4         lines                            nobody
//   R2 and R4        no file of that name             open_file() starts a new one [LG-3]
//
// Others may rotate, too: rename the file (the next flush starts a new one) or truncate it; cacheed
// need not know. They must not append to it: what they add is cut off.
//
// A channel has a chain of hashes (log_chain.hpp) when the rules say so, and goes on with it as long as
// its file is not empty. The chain's head is settled together with the bytes.
//
// Threads: one, the thread of the Store it was opened with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/outcome.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kLogFilesOpenMax = 32;
inline constexpr std::size_t kLogChunkBytes = std::size_t{4} << 20;  // of one write and fsync

/// What is the user's choice about log files.
struct LogRules {
  std::uint64_t rotate_bytes = 0;  // a file of so many bytes is rotated; 0: never
  std::int64_t rotate_ms = 0;      // and one whose first line is so old; 0: never
  std::uint32_t keep = 0;          // rotated files of a channel; 0: all
  bool hash_chain = false;
};

/// A channel whose committed lines are not all in its file.
struct UnwrittenChannel {
  std::string name{};
  Failure failure{};
};

class LogWriter {
 public:
  struct Counters {
    std::uint64_t lines = 0;
    std::uint64_t bytes = 0;
    std::uint64_t syncs = 0;
    std::uint64_t failures = 0;
    std::uint64_t rotations = 0;
  };

  /// Makes the directory, cuts torn tails and writes what was left to write. What cannot be written
  /// now is logged and stays for the next flush().
  /// @error no_space, io, permission  no directory, or the store cannot be read
  [[nodiscard]] static Outcome<std::unique_ptr<LogWriter>> open(Store& store, const LogRules& rules = {});
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  ~LogWriter();

  /// Writes every committed line to its file, and syncs if the store does. No event may be acknowledged before that
  /// whose lines were committed, and none that has lines of a channel which failed. One failing channel does not stop the
  /// others.
  ///
  /// @return  channels that failed, with no_space, io or permission; what was not written of them stays in the store
  /// @error   the store cannot be read
  [[nodiscard]] Outcome<std::vector<UnwrittenChannel>> flush();

  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

  /// What is settled of a channel; none of it when nothing was written yet.
  [[nodiscard]] LogFile settled(std::string_view channel) const;

  /// `<directory>/log/<channel>.jsonl`; empty for what is not a channel's name.
  [[nodiscard]] static std::string path(std::string_view directory, std::string_view channel);

 private:
  struct File {
    int fd = -1;
    std::uint64_t inode = 0;
    std::uint64_t used = 0;  // flush number, for closing the one unused longest
  };

  LogWriter(Store& store, const LogRules& rules, int directory_fd)
      : store_{store}, rules_{rules}, directory_fd_{directory_fd} {}
  Outcome<void> read_settled();
  Outcome<void> flush_channel(const std::string& channel);
  Outcome<File*> ready_file(const std::string& channel);
  Outcome<File*> open_file(const std::string& channel, bool replaced = false);
  Outcome<void> set_settled(const std::string& channel, std::uint64_t bytes);
  [[nodiscard]] bool is_due(const LogFile& settled) const;
  Outcome<void> rotate(const std::string& channel);
  void remove_oldest(const std::string& channel);
  void close_file(const std::string& channel) noexcept;
  void close_idle_files() noexcept;
  [[nodiscard]] std::string full_path(const std::string& channel) const;

  Store& store_;
  const LogRules rules_;
  int directory_fd_;
  std::uint64_t flushes_ = 0;
  std::unordered_map<std::string, File> files_{};             // open ones
  std::unordered_map<std::string, LogFile> settled_{};  // as the store has it, unless
  bool settled_unsure_ = true;                          // this says to read it again
  Counters counters_{};
};

}  // namespace cachee::daemon
