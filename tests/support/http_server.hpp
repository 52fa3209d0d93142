// A real HTTP/1.1 server on loopback whose answers a test scripts: statuses, delays, resets,
// silence. A thread for each connection; keeps what it was asked.
#pragma once

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cachee::test {

struct HttpRequest {
  std::size_t index = 0;  // 0-based, in order of arrival at the server
  std::string method{};
  std::string target{};
  std::vector<std::pair<std::string, std::string>> headers{};  // names in lower case
  std::string body{};
  std::chrono::steady_clock::time_point at{};

  [[nodiscard]] std::string header(std::string_view name) const {
    for (const auto& [known, value] : headers) {
      if (known == name) return value;
    }
    return {};
  }
  [[nodiscard]] bool has_header(std::string_view name) const {
    return std::any_of(headers.begin(), headers.end(),
                       [&](const auto& header) { return header.first == name; });
  }
};

struct HttpAnswer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  std::chrono::milliseconds delay{0};
  enum class End {
    keep_alive,
    close,
    reset,     // RST instead of an answer
    silence,   // nothing, until the server stops
    truncate,  // announces more body than it sends, then closes
  } end = End::keep_alive;
};

class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(const HttpRequest&)>;

  explicit HttpServer(Handler handler = [](const HttpRequest&) { return HttpAnswer{}; })
      : handler_{std::move(handler)} {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
        ::listen(listener_, 128) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
      throw std::runtime_error("the test server cannot listen on loopback");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread{[this] { accept_all(); }};
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
      ::shutdown(listener_, SHUT_RDWR);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    changed_.notify_all();
    acceptor_.join();
    for (auto& thread : connections_) thread.join();
    ::close(listener_);
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::string url(std::string_view path = "/",
                                std::string_view host = "127.0.0.1") const {
    return "http://" + std::string{host} + ":" + std::to_string(port_) + std::string{path};
  }

  [[nodiscard]] std::vector<HttpRequest> requests() const {
    const std::lock_guard lock{mutex_};
    return requests_;
  }
  /// Waits until that many requests have come; false when they have not in time.
  [[nodiscard]] bool wait_for(std::size_t count,
                              std::chrono::milliseconds patience = std::chrono::seconds{30}) const {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience, [&] { return requests_.size() >= count; });
  }
  [[nodiscard]] std::size_t connections() const {
    const std::lock_guard lock{mutex_};
    return connections_.size();
  }
  /// Most requests that were being answered at one moment.
  [[nodiscard]] std::size_t concurrent_max() const {
    const std::lock_guard lock{mutex_};
    return concurrent_max_;
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const std::lock_guard lock{mutex_};
      if (stopping_) {
        if (fd >= 0) ::close(fd);
        return;
      }
      if (fd < 0) continue;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      open_.push_back(fd);
      connections_.emplace_back([this, fd] {
        serve(fd);
        const std::lock_guard inner{mutex_};
        open_.remove(fd);
        ::close(fd);
      });
    }
  }

  static bool receive(int fd, std::string& buffer) {
    char bytes[16384];
    const ssize_t count = ::recv(fd, bytes, sizeof(bytes), 0);
    if (count <= 0) return false;
    buffer.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  static HttpRequest parse_head(std::string_view head) {
    HttpRequest request;
    const auto line_end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, line_end);
    const auto first = line.find(' '), second = line.rfind(' ');
    request.method = std::string{line.substr(0, first)};
    request.target = std::string{line.substr(first + 1, second - first - 1)};
    head.remove_prefix(std::min(line_end + 2, head.size()));
    while (!head.empty()) {
      const auto end = std::min(head.find("\r\n"), head.size());
      const std::string_view field = head.substr(0, end);
      const auto colon = field.find(':');
      std::string name{field.substr(0, colon)};
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      std::string_view value = field.substr(std::min(colon + 1, field.size()));
      while (value.starts_with(' ')) value.remove_prefix(1);
      request.headers.emplace_back(std::move(name), std::string{value});
      head.remove_prefix(std::min(end + 2, head.size()));
    }
    return request;
  }

  void serve(int fd) {
    std::string buffer;
    for (;;) {
      std::size_t head_end = 0;
      while ((head_end = buffer.find("\r\n\r\n")) == std::string::npos) {
        if (!receive(fd, buffer)) return;
      }
      HttpRequest request = parse_head(std::string_view{buffer}.substr(0, head_end));
      const std::string length = request.header("content-length");
      const std::size_t body_bytes = length.empty() ? 0 : std::stoul(length);
      while (buffer.size() < head_end + 4 + body_bytes) {
        if (!receive(fd, buffer)) return;
      }
      request.body = buffer.substr(head_end + 4, body_bytes);
      buffer.erase(0, head_end + 4 + body_bytes);
      request.at = std::chrono::steady_clock::now();
      if (!answer(fd, std::move(request))) return;
    }
  }

  /// False: the connection is over.
  bool answer(int fd, HttpRequest request) {
    {
      const std::lock_guard lock{mutex_};
      request.index = requests_.size();
      requests_.push_back(request);
      concurrent_max_ = std::max(concurrent_max_, ++concurrent_);
    }
    changed_.notify_all();
    const HttpAnswer answer = handler_(request);
    {
      std::unique_lock lock{mutex_};
      if (answer.end == HttpAnswer::End::silence) {
        changed_.wait(lock, [this] { return stopping_; });
      } else {
        changed_.wait_for(lock, answer.delay, [this] { return stopping_; });
      }
      --concurrent_;
    }
    if (answer.end == HttpAnswer::End::silence) return false;
    if (answer.end == HttpAnswer::End::reset) {
      const linger now{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      return false;
    }
    const bool truncate = answer.end == HttpAnswer::End::truncate;
    std::string text = "HTTP/1.1 " + std::to_string(answer.status) +
                       " Scripted\r\nContent-Length: " +
                       std::to_string(answer.body.size() + (truncate ? 100 : 0)) + "\r\n";
    for (const auto& [name, value] : answer.headers) text += name + ": " + value + "\r\n";
    text += "\r\n";
    if (request.method != "HEAD") text += answer.body;
    return send_all(fd, text) && answer.end == HttpAnswer::End::keep_alive;
  }

  Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread acceptor_{};
  mutable std::mutex mutex_{};
  mutable std::condition_variable changed_{};
  std::list<std::thread> connections_{};
  std::list<int> open_{};
  std::vector<HttpRequest> requests_{};
  std::size_t concurrent_ = 0;
  std::size_t concurrent_max_ = 0;
  bool stopping_ = false;
};

/// A loopback port on which nobody listens.
inline std::uint16_t closed_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), bytes);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes);
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace cachee::test
