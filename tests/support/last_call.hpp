// Lets a process die by SIGKILL at its n-th call that changes a file, before it, in the middle of what it writes, or
// behind it. In the place of libc's calls, for SQLite too: to be included by one source of a program.
#pragma once

#include <atomic>
#include <csignal>
#include <cstddef>

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace cachee::test {

enum class Moment { before, middle, after };

/// How many more changing calls this process may make; negative: any number.
inline std::atomic<long> calls_left{-1};
inline std::atomic<long> calls_made{0};
inline Moment last_moment = Moment::before;

/// Negative `calls`: it does not.
inline void die_at_call(long calls, Moment moment) {
  last_moment = moment;
  calls_made.store(0);
  calls_left.store(calls);
}

/// True when this call is the last one.
inline bool is_last_call() {
  ++calls_made;
  if (calls_left.load() < 0 || calls_left-- > 0) return false;
  if (last_moment == Moment::before) ::kill(::getpid(), SIGKILL);
  return true;
}

inline void die_if(bool last) {
  if (last) ::kill(::getpid(), SIGKILL);
}

template <class... Args>
long last_or_not(long number, Args... args) {
  const bool last = is_last_call();
  const long result = ::syscall(number, args...);
  die_if(last);
  return result;
}

/// Of a write: what of it is made.
inline std::size_t bytes_of_last(std::size_t bytes) {
  return calls_left.load() == 0 && last_moment == Moment::middle ? bytes / 2 : bytes;
}

inline bool is_file(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace cachee::test

#define CACHEE_INTERPOSED extern "C" __attribute__((visibility("default")))
CACHEE_INTERPOSED ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  return cachee::test::last_or_not(SYS_pwrite64, fd, bytes, cachee::test::bytes_of_last(count), offset);
}
CACHEE_INTERPOSED ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  return pwrite64(fd, bytes, count, offset);
}
CACHEE_INTERPOSED ssize_t write(int fd, const void* bytes, size_t count) {
  if (!cachee::test::is_file(fd)) return ::syscall(SYS_write, fd, bytes, count);
  return cachee::test::last_or_not(SYS_write, fd, bytes, cachee::test::bytes_of_last(count));
}
CACHEE_INTERPOSED int fdatasync(int fd) { return static_cast<int>(cachee::test::last_or_not(SYS_fdatasync, fd)); }
CACHEE_INTERPOSED int fsync(int fd) { return static_cast<int>(cachee::test::last_or_not(SYS_fsync, fd)); }
CACHEE_INTERPOSED int ftruncate64(int fd, off64_t bytes) noexcept {
  return static_cast<int>(cachee::test::last_or_not(SYS_ftruncate, fd, bytes));
}
CACHEE_INTERPOSED int ftruncate(int fd, off_t bytes) noexcept { return ftruncate64(fd, bytes); }
CACHEE_INTERPOSED int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  return static_cast<int>(cachee::test::last_or_not(SYS_renameat2, from_fd, from, to_fd, to, flags));
}
CACHEE_INTERPOSED int unlink(const char* path) noexcept {
  return static_cast<int>(cachee::test::last_or_not(SYS_unlink, path));
}
