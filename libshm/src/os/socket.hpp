// A stream socket of the unix domain, with a deadline for everything that waits. Never raises SIGPIPE.
//
// fork(): close() ends the connection for the process that made it, whatever children hold of it; a child's
// close() gives back its own descriptor alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <cachee/result.hpp>

namespace cachee::os {

class Socket {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  Socket() noexcept = default;
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  /// @error no_supervisor     nobody listens there
  /// @error invalid_argument  the path is longer than a socket's may be
  /// @error permission, io
  [[nodiscard]] static Result<Socket> connect(const std::string& path) noexcept;

  [[nodiscard]] bool open() const noexcept { return fd_ >= 0; }
  void close() noexcept;
  /// @error no_supervisor  the other side is gone
  /// @error timed_out, io
  Result<void> send(std::string_view bytes, Deadline until) noexcept;
  /// At least one byte. The same errors.
  Result<std::size_t> receive(std::span<char> room, Deadline until) noexcept;

 private:
  int fd_ = -1;
  std::uint64_t fork_epoch_ = 0;  // of the process that connected
};

}  // namespace cachee::os
