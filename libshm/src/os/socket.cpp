#include "os/socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "os/process.hpp"

namespace cachee::os {
namespace {

constexpr int kPollMsMax = 60'000;

bool is_gone(int code) noexcept {
  return code == ECONNREFUSED || code == ENOENT || code == ECONNRESET || code == EPIPE || code == ENOTCONN;
}

Error error_of(int code) noexcept {
  if (is_gone(code)) return {Errc::no_supervisor, code, 0};
  return {code == EACCES || code == EPERM ? Errc::permission : Errc::io, code, 0};
}

Result<void> wait_for(int fd, short events, Socket::Deadline until) noexcept {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return Errc::timed_out;
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::min<std::int64_t>(left, kPollMsMax)));
    if (ready > 0) return {};  // also when it is closed: the call itself says so
    if (ready < 0 && errno != EINTR) return error_of(errno);
  }
}

}  // namespace

Socket::Socket(Socket&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, fork_epoch_{other.fork_epoch_} {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(fork_epoch_, other.fork_epoch_);
  return *this;
}

Socket::~Socket() { close(); }

void Socket::close() noexcept {
  if (fd_ < 0) return;
  // A forked child's copy would keep the connection open: the other side would not learn that this is the end.
  if (fork_epoch() == fork_epoch_) ::shutdown(fd_, SHUT_RDWR);
  ::close(fd_);
  fd_ = -1;
}

Result<Socket> Socket::connect(const std::string& path) noexcept {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) return Errc::invalid_argument;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  Socket made;
  watch_forks();
  made.fork_epoch_ = fork_epoch();
  made.fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made.fd_ < 0) return error_of(errno);
  // Of the unix domain: connects at once, or the listener's queue is full (EAGAIN).
  if (::connect(made.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EAGAIN) return Error{Errc::busy, errno, 0};
    return error_of(errno);
  }
  return made;
}

Result<void> Socket::send(std::string_view bytes, Deadline until) noexcept {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (auto waited = wait_for(fd_, POLLOUT, until); !waited) return waited;
    } else if (errno != EINTR) {
      return error_of(errno);
    }
  }
  return {};
}

Result<std::size_t> Socket::receive(std::span<char> room, Deadline until) noexcept {
  for (;;) {
    const auto received = ::recv(fd_, room.data(), room.size(), 0);
    if (received > 0) return static_cast<std::size_t>(received);
    if (received == 0) return Errc::no_supervisor;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (auto waited = wait_for(fd_, POLLIN, until); !waited) return waited.error();
    } else if (errno != EINTR) {
      return error_of(errno);
    }
  }
}

}  // namespace cachee::os
