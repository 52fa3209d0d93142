// Wire: this library's side of cacheed's control socket. RESP2, one request at a time.
//
// Use:   wire::Connection connection;
//        if (auto opened = connection.open(path); !opened) return opened.error();
//        auto reply = connection.call({"GROUP", "INFO", "auth"}, until);
//
// A connection whose bytes make no sense, or that ran out of time in the middle of a reply, is closed:
// the next call opens it again.
//
// Threads: one.
// Limits: a reply is nested kDepthMax deep and has kItemsMax items; memory grows with the bytes that
// have arrived, never with a length that was only claimed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/result.hpp>

#include "os/socket.hpp"

namespace cachee::wire {

inline constexpr std::size_t kDepthMax = 8;
inline constexpr std::size_t kItemsMax = std::size_t{1} << 20;         // of one array
inline constexpr std::size_t kBulkBytesMax = std::size_t{1} << 30;

struct Reply {
  enum class Kind : std::uint8_t { null, status, error, integer, text, array };
  Kind kind = Kind::null;
  std::int64_t integer = 0;
  std::string text{};          // status, error, text
  std::vector<Reply> items{};  // array
  /// The value behind a name of a record (name, value, name, value, ...); null: there is none.
  [[nodiscard]] const Reply* field(std::string_view name) const noexcept;
};

/// Takes one reply apart, from pieces as they come.
class Parser {
 public:
  enum class Status : std::uint8_t { need_more, done, damaged };
  /// May throw std::bad_alloc.
  Status feed(std::string_view bytes);
  /// After `done`. Bytes behind the reply make the next one `damaged`: nobody asked for them.
  [[nodiscard]] Reply take();

 private:
  struct Level {
    Reply array{};
    std::size_t left = 0;
  };
  Status step(std::string_view line);
  Status put(Reply reply);

  std::string buffer_{};       // not read yet
  std::size_t at_ = 0;
  bool in_bulk_ = false;
  std::size_t bulk_bytes_ = 0;
  std::vector<Level> levels_{};
  Reply reply_{};
  Status status_ = Status::need_more;
};

class Connection {
 public:
  using Deadline = os::Socket::Deadline;
  [[nodiscard]] Result<void> open(const std::string& path) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return socket_.open(); }
  void close() noexcept { socket_.close(); }
  /// An error reply is a Reply. May throw std::bad_alloc; the connection is closed then.
  [[nodiscard]] Result<Reply> call(const std::vector<std::string_view>& words, Deadline until);

 private:
  os::Socket socket_{};
};

}  // namespace cachee::wire
