// Where the control socket listens: a path, and perhaps a TCP port.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/address.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int fd) noexcept : fd_{fd} {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// A listening socket at a path; the file goes when this goes, if it is still the same file.
class UnixListener {
 public:
  struct Place {
    std::string path{};
    std::uint32_t mode = 0660;
    std::optional<std::uint32_t> group{};
  };
  /// Makes the folder. A socket file that nobody answers on is left over and replaced; one that
  /// somebody answers on, or a file that is no socket, is refused.
  [[nodiscard]] static Outcome<UnixListener> open(const Place& place);

  UnixListener(UnixListener&& other) noexcept
      : fd_{std::move(other.fd_)}, path_{std::exchange(other.path_, {})},
        device_{other.device_}, inode_{other.inode_} {}
  UnixListener& operator=(UnixListener&& other) noexcept;
  ~UnixListener() { remove_file(); }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  void close() noexcept;

 private:
  UnixListener() noexcept = default;
  void remove_file() noexcept;

  FileDescriptor fd_{};
  std::string path_{};
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

struct TcpListener {
  FileDescriptor fd{};
  std::uint16_t port = 0;  // that the kernel gave
};
[[nodiscard]] Outcome<TcpListener> listen_tcp(const ListenAddress& address);

}  // namespace cachee::daemon
