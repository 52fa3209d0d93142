// Holds up the fdatasync and fsync of chosen files: what a process may do only behind a flush, it must
// not have done while its flush is held up.
//
// Method: a program links disk_gate.cpp, whose functions stand in the place of libc's, for SQLite too.
#pragma once

#include <string>

namespace cachee::test {

/// While it is shut, whoever flushes a file whose path has `part` in it waits. One at a time.
class DiskGate {
 public:
  explicit DiskGate(std::string part);
  DiskGate(const DiskGate&) = delete;
  DiskGate& operator=(const DiskGate&) = delete;
  ~DiskGate();
  /// Lets through who waits, and all that follow.
  void open();
  /// Somebody is in the middle of such a flush.
  [[nodiscard]] static bool held();
};

}  // namespace cachee::test
