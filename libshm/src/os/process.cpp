#include "os/process.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.hpp"

namespace cachee::os {
namespace {

std::string lock_folder(std::string_view segment) { return std::string{"/dev/shm/cachee."}.append(segment).append(".locks"); }
std::string lock_path(std::string_view segment, const std::string& file) { return lock_folder(segment) + "/" + file; }

struct flock whole_file(short type) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

void watch_forks() noexcept {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { ++detail::g_fork_epoch; });
  static_cast<void>(registered);
}

HeldLock::HeldLock(HeldLock&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, made_in_{other.made_in_} {}
HeldLock& HeldLock::operator=(HeldLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(made_in_, other.made_in_);
  return *this;
}
HeldLock::~HeldLock() {
  // A forked child has a descriptor but no lock; closing it there releases nothing of the parent's.
  if (fd_ >= 0) close(fd_);
}

std::string registration_file(std::uint64_t registration) { return "c." + std::to_string(registration); }

Result<HeldLock> hold_lock(std::string_view segment, const std::string& file, std::uint32_t mode) noexcept {
  const std::string folder = lock_folder(segment);
  // Whoever may read a mode may enter the folder.
  const mode_t folder_mode = static_cast<mode_t>(mode | ((mode & 0444) >> 2));
  if (mkdir(folder.c_str(), folder_mode) == 0) {
    chmod(folder.c_str(), folder_mode);
  } else if (errno != EEXIST) {
    return Error{errno == ENOSPC ? Errc::no_space : Errc::permission, errno, 0};
  }
  const std::string path = lock_path(segment, file);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return Error{errno == ENOSPC ? Errc::no_space : Errc::permission, errno, 0};
  fchmod(fd, mode);
  struct flock lock = whole_file(F_WRLCK);
  if (fcntl(fd, F_SETLK, &lock) != 0) {
    const int failed = errno;
    struct flock holder = whole_file(F_WRLCK);
    fcntl(fd, F_GETLK, &holder);
    close(fd);
    return Error{Errc::busy, failed, static_cast<std::uint64_t>(holder.l_type == F_UNLCK ? 0 : holder.l_pid)};
  }
  char text[32];
  const int bytes = std::snprintf(text, sizeof text, "%d\n", getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text, static_cast<std::size_t>(bytes), 0) != bytes) {
    const int failed = errno;
    close(fd);
    return Error{Errc::io, failed, 0};
  }
  HeldLock held;
  held.fd_ = fd;
  held.made_in_ = fork_epoch();
  return held;
}

std::int32_t lock_holder(std::string_view segment, const std::string& file) noexcept {
  const int fd = open(lock_path(segment, file).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT ? 0 : -1;
  struct flock lock = whole_file(F_WRLCK);
  const bool asked = fcntl(fd, F_GETLK, &lock) == 0;
  close(fd);
  if (!asked) return -1;
  if (lock.l_type == F_UNLCK) return 0;
  // A holder of another PID namespace has no pid here.
  return lock.l_pid > 0 ? lock.l_pid : -1;
}

void remove_lock_file(std::string_view segment, const std::string& file) noexcept {
  unlink(lock_path(segment, file).c_str());
}

void remove_lock_folder(std::string_view segment) noexcept {
  const std::string folder = lock_folder(segment);
  if (DIR* dir = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] != '.') unlink((folder + "/" + entry->d_name).c_str());
    }
    closedir(dir);
  }
  rmdir(folder.c_str());
}

ProcessIdentity own_identity() noexcept {
  ProcessIdentity self{getpid(), 0};
  if (FILE* file = std::fopen("/proc/self/stat", "re")) {
    char text[1024];
    const std::size_t bytes = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    text[bytes] = '\0';
    // Field 22; the command name in parentheses may hold spaces.
    if (const char* at = std::strrchr(text, ')')) {
      unsigned long long ticks = 0;
      if (std::sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                      &ticks) == 1) {
        self.start_ticks = ticks & base::low_mask(kStartTicksBits);
      }
    }
  }
  struct stat space {};
  if (stat("/proc/self/ns/pid", &space) == 0) self.start_ticks |= static_cast<std::uint64_t>(space.st_ino) << kStartTicksBits;
  return self;
}

void random_bytes(void* out, std::size_t bytes) noexcept {
  auto* at = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = getrandom(at, bytes, 0);
    if (got <= 0) continue;
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

}  // namespace cachee::os
