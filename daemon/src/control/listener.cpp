#include "control/listener.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

namespace cachee::daemon {
namespace {

constexpr int kBacklog = 511;

std::string why(int error) { return std::generic_category().message(error); }

Failure io_failure(std::string text) {
  const Errc code = errno == EACCES || errno == EPERM ? Errc::permission : Errc::io;
  return {code, fmt::format("{}: {}", text, why(errno))};
}

FileDescriptor make_socket(int family) {
  return FileDescriptor{::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

template <class Address>
const sockaddr* generic(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);  // what the socket calls are declared with
}

// Clears the way for bind(): nothing there, or a socket that nobody answers on.
Outcome<void> remove_stale(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return io_failure(fmt::format("the control socket {} cannot be looked at", path));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Failure{Errc::busy, fmt::format("{} is there and is not a socket; move it away, or "
                                           "choose another --runtime-dir",
                                           path)};
  }
  const FileDescriptor probe = make_socket(AF_UNIX);
  if (!probe) return io_failure("a socket cannot be made");
  const sockaddr_un address = address_of(path);
  // A full backlog (EAGAIN) also means that somebody is there.
  if (::connect(probe.get(), generic(address), sizeof(address)) == 0 || errno == EAGAIN) {
    return Failure{Errc::busy, fmt::format("another server answers on the control socket {}; stop "
                                           "it, or choose another --name",
                                           path)};
  }
  if (errno != ECONNREFUSED && errno != ENOENT) {
    return io_failure(fmt::format("the control socket {} cannot be tried", path));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return io_failure(fmt::format("the left-over control socket {} cannot be removed", path));
  }
  return {};
}

}  // namespace

void FileDescriptor::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Outcome<UnixListener> UnixListener::open(const Place& place) {
  constexpr std::size_t kPathBytesMax = sizeof(sockaddr_un{}.sun_path) - 1;
  if (place.path.empty() || place.path.size() > kPathBytesMax) {
    return Failure{Errc::invalid_argument,
                   fmt::format("the path of the control socket, {}, is {} bytes long; a socket's "
                               "path has at most {}: choose a shorter --runtime-dir",
                               place.path, place.path.size(), kPathBytesMax)};
  }
  const auto folder = std::filesystem::path{place.path}.parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) {
    return Failure{Errc::io, fmt::format("the runtime folder {} cannot be made: {}; create it, or "
                                         "choose another --runtime-dir",
                                         folder.string(), error.message())};
  }
  if (auto clear = remove_stale(place.path); !clear) return clear.failure();

  UnixListener listener;
  listener.fd_ = make_socket(AF_UNIX);
  const sockaddr_un address = address_of(place.path);
  if (!listener.fd_ || ::bind(listener.fd(), generic(address), sizeof(address)) != 0) {
    return io_failure(fmt::format("the control socket {} cannot be bound", place.path));
  }
  listener.path_ = place.path;
  struct stat status {};
  if (lstat(place.path.c_str(), &status) == 0) {
    listener.device_ = status.st_dev;
    listener.inode_ = status.st_ino;
  }
  // Nobody can connect before listen(), so the permissions are in force from the first moment.
  if (place.group && ::chown(place.path.c_str(), static_cast<uid_t>(-1), *place.group) != 0) {
    return io_failure(fmt::format("the group {} of --group cannot be given to {}", *place.group,
                                  place.path));
  }
  if (::chmod(place.path.c_str(), place.mode) != 0) {
    return io_failure(fmt::format("the mode of {} cannot be set", place.path));
  }
  if (::listen(listener.fd(), kBacklog) != 0) {
    return io_failure(fmt::format("the control socket {} cannot listen", place.path));
  }
  return listener;
}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  if (this != &other) {
    remove_file();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void UnixListener::remove_file() noexcept {
  struct stat status {};
  if (!path_.empty() && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  path_.clear();
}

void UnixListener::close() noexcept {
  remove_file();
  fd_.reset();
}

Outcome<TcpListener> listen_tcp(const ListenAddress& address) {
  const std::string shown = format_address(address);
  TcpListener listener{make_socket(address.ipv6 ? AF_INET6 : AF_INET), 0};
  if (!listener.fd) return io_failure("a socket cannot be made");
  const int on = 1;
  ::setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  if (address.ipv6) {
    ::setsockopt(listener.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    sockaddr_in6 place{};
    place.sin6_family = AF_INET6;
    place.sin6_port = htons(address.port);
    std::memcpy(&place.sin6_addr, address.bytes.data(), sizeof(place.sin6_addr));
    bytes = sizeof(place);
    std::memcpy(&storage, &place, bytes);
  } else {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(address.port);
    std::memcpy(&place.sin_addr, address.bytes.data(), sizeof(place.sin_addr));
    bytes = sizeof(place);
    std::memcpy(&storage, &place, bytes);
  }
  if (::bind(listener.fd.get(), generic(storage), bytes) != 0 ||
      ::listen(listener.fd.get(), kBacklog) != 0) {
    return io_failure(fmt::format("--listen {} cannot be bound", shown));
  }
  bytes = sizeof(storage);
  if (::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&storage), &bytes) == 0) {
    if (address.ipv6) {
      sockaddr_in6 place{};
      std::memcpy(&place, &storage, sizeof(place));
      listener.port = ntohs(place.sin6_port);
    } else {
      sockaddr_in place{};
      std::memcpy(&place, &storage, sizeof(place));
      listener.port = ntohs(place.sin_port);
    }
  }
  return listener;
}

}  // namespace cachee::daemon
