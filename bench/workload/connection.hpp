// Connection: one to a server on a unix socket, with requests as Redis has them.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "workload/keeper.hpp"

namespace cachee::bench {

/// A blocking connection with a read buffer.
class Connection {
 public:
  explicit Connection(const std::string& path) : fd_{open(path)} {
    if (fd_ < 0) die("connect " + path + ": " + std::strerror(errno));
  }
  /// A socket's file is there before its server listens.
  [[nodiscard]] static bool is_listening(const std::string& path) {
    const int fd = open(path);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(fd_); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = write(fd_, bytes.data(), bytes.size());
      if (sent <= 0) die("a server closed its connection");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// A line without its CR LF; valid until the next call.
  std::string_view line() {
    for (;;) {
      const std::string_view waiting{buffer_.data() + start_, end_ - start_};
      if (const auto at = waiting.find("\r\n"); at != std::string_view::npos) {
        start_ += at + 2;
        return waiting.substr(0, at);
      }
      fill();
    }
  }
  std::string_view bytes(std::size_t count) {
    while (end_ - start_ < count) fill();
    start_ += count;
    return {buffer_.data() + start_ - count, count};
  }

 private:
  /// Negative: nobody listens there.
  static int open(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) die("path of a socket is too long: " + path);
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  void fill() {
    if (start_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + start_, end_ - start_);
      end_ -= start_;
      start_ = 0;
    }
    if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const ssize_t got = read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    if (got <= 0) die("a server closed its connection");
    end_ += static_cast<std::size_t>(got);
  }

  int fd_;
  std::vector<char> buffer_ = std::vector<char>(16384);
  std::size_t start_ = 0;
  std::size_t end_ = 0;
};

/// Appends one word of a Redis request.
inline void append_word(std::string& request, std::string_view word) {
  request += '$';
  request += std::to_string(word.size());
  request += "\r\n";
  request += word;
  request += "\r\n";
}

}  // namespace cachee::bench
