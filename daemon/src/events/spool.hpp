// Spool: the backlog of the ring on disk. What executors cannot take is copied here and leaves the
// ring before it is full; later it is handed to them from here, in the same order.
//
// Use:   auto spool = Spool::open({.directory = state + "/spool"}, cursor, [&](const SpoolRecord& r) { ... });
//        if (auto done = (*spool)->append(records); done) acknowledge_their_cells();
//        while (auto record = (*spool)->read()) hand_over(**record);
//        (*spool)->forget(cursor, epoch, head);                   // files that nobody needs any more
//
// SPOOL PROTOCOL
//   `<directory>/<index of the first record, 16 hex digits>.spool`: a header, then frames. A frame is
//   what one append() got: its length, the records, a checksum. Records are numbered without gaps
//   over the life of the state folder; the cursor (in the store) is the first one that is not over.
//
//   P1 write the frame behind the last one   P2 fdatasync, if it is to   P3 the caller acknowledges the cells
//
// Invariants
//   [SP-1] A frame is there with all its records or not at all.
//   [SP-2] Records are in the order in which they left the ring; read() keeps it.
//   [SP-3] A file is removed only when all its records are over and their cells are released: until
//          then it tells a restart which cells had left the ring.
//
//   Killed between   what is left                        who repairs
//   P1 and P2        nothing, or a torn or whole frame   open(): a torn one is cut off, its events are in
//                                                        the ring; a whole one counts as spooled
//   P2 and P3        the events here and in the ring     the dispatcher, by the records' positions
//
// Damage that is no torn end (a bad disk) is logged and counted in lost(); the account then says so.
// Room: append() leaves a share of the disk free, so that what works the backlog off finds room.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/event_data.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

/// One event that left the ring for the disk, for every trigger that it was owed to.
struct SpoolRecord {
  std::uint64_t index = 0;                // append() numbers them
  std::uint64_t seq = 0;                  // its position in the ring
  std::uint64_t key_hash = 0;
  std::vector<std::string> triggers{};    // who is to handle it, by name, in their order
  std::vector<std::string> shed{};        // who asked that it be shed
  bool gap = false;                       // not an event of the ring: says what was shed up to `seq`
  EventData event{};                      // empty when `triggers` is
  [[nodiscard]] bool only_shed() const noexcept { return triggers.empty() || gap; }
};

struct SpoolOptions {
  std::string directory{};
  bool sync = true;                                         // P2; without it a loss of power may lose frames
  std::uint64_t file_bytes = std::uint64_t{16} << 20;       // a new file from here on
  // Of the disk; or a sixteenth of it, 8 MiB at least, if that is less.
  std::uint64_t free_bytes_min = std::uint64_t{64} << 20;
};

class Spool {
 public:
  /// Opens what is there and shows every intact record to the sink, oldest first, also those before
  /// the cursor. Events keep their bytes to themselves: `event` has only its id. read() begins at the
  /// cursor.
  [[nodiscard]] static Outcome<std::unique_ptr<Spool>> open(const SpoolOptions& options, std::uint64_t cursor,
                                                            const std::function<void(const SpoolRecord&)>& sink);
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  ~Spool();

  /// P1, P2: all of them as one frame, or none. Numbers them. One that has no event in it but gaps, and so is small,
  /// may take half of the room that is kept free.
  /// @error no_space  the disk is (nearly) full; @error io
  Outcome<void> append(std::span<SpoolRecord> records);
  /// The next record in order; none: all are read. A damaged one is skipped and counted.
  [[nodiscard]] Outcome<std::optional<SpoolRecord>> read();
  /// [SP-3] `epoch` and `head` of the ring: events of another epoch are in no ring any more.
  void forget(std::uint64_t cursor, std::string_view epoch, std::uint64_t head);

  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }    // number of the next one appended
  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }  // number of the next one read
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }  // damaged records
  [[nodiscard]] std::uint64_t bytes() const noexcept;                  // of all files

 private:
  struct File {
    std::string path{};
    std::uint64_t first = 0;     // index of its first record
    std::uint64_t bytes = 0;     // whole frames and the header
    std::uint64_t seq_last = 0;  // position of its last record ...
    std::string id_last{};       // ... and its event's id, which begins with the epoch
    bool damaged = false;
  };
  explicit Spool(SpoolOptions options) : options_{std::move(options)} {}
  Outcome<void> scan(const std::function<void(const SpoolRecord&)>& sink);
  Outcome<bool> scan_file(File& file, bool newest, const std::function<void(const SpoolRecord&)>& sink);
  Outcome<void> start_file();
  [[nodiscard]] bool has_room(std::uint64_t bytes, bool only_shed) const noexcept;

  SpoolOptions options_;
  std::vector<File> files_{};   // oldest first
  int append_fd_ = -1;          // of files_.back()
  std::uint64_t end_ = 0;
  std::uint64_t lost_ = 0;
  // Where read() is.
  std::uint64_t next_ = 0;      // number of the next record
  int read_fd_ = -1;
  std::uint64_t read_first_ = 0;   // first index of the open file
  std::uint64_t read_at_ = 0;      // byte of the next frame
  std::vector<SpoolRecord> frame_{};
  std::size_t frame_at_ = 0;
};

}  // namespace cachee::daemon
