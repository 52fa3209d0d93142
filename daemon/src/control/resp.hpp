// RESP, the protocol of Redis: requests in, replies out. Pure; no socket.
//
// Use:   RequestParser parser{limits};
//        parser.feed(bytes);                         // any pieces
//        while (parser.next() == RequestParser::Status::request) run(parser.arguments());
//        if (parser.failed()) send_and_close("-ERR " + parser.error());
//
// Requests are arrays of bulk strings or inline lines, as many as came, in order. Protocol errors
// are worded as Redis words them and are final: the stream cannot be trusted any more.
//
// Limits: RequestLimits. Memory grows with the bytes that have arrived, never with a length that
// was only claimed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::daemon::resp {

inline constexpr std::size_t kItemsMax = std::size_t{1} << 20;
inline constexpr std::size_t kInlineBytesMax = std::size_t{64} << 10;
// What somebody who has not given the password may send.
inline constexpr std::size_t kStrangerItemsMax = 10;
inline constexpr std::size_t kStrangerBulkBytesMax = 16384;

inline constexpr std::size_t kBulkBytesMax = std::size_t{512} << 20;  // larger ones are no protocol, as in Redis

/// A request beyond these is read to its end without being kept, and refused.
struct RequestLimits {
  std::size_t bulk_bytes_max = std::size_t{64} << 20;     // one argument
  std::size_t request_bytes_max = std::size_t{256} << 20;  // one request, everything counted
};

class RequestParser {
 public:
  enum class Status { need_more, request, refused, error };

  explicit RequestParser(const RequestLimits& limits = {}) noexcept : limits_{limits} {}

  /// Room for at least `bytes` bytes; what was received there counts after commit().
  [[nodiscard]] std::span<char> prepare(std::size_t bytes);
  void commit(std::size_t bytes) noexcept;
  void feed(std::string_view bytes);

  /// Takes the next whole request. Empty ones (an empty line, an empty array) are passed over.
  [[nodiscard]] Status next();
  /// Of the request that next() took; valid until the next call of any other member. The first
  /// argument is the command; there is at least one.
  [[nodiscard]] std::span<const std::string_view> arguments() const noexcept { return arguments_; }
  /// Of the request that next() refused: the limit that it exceeds.
  enum class Excess { none, bulk, request };
  [[nodiscard]] Excess excess() const noexcept { return excess_; }
  [[nodiscard]] bool failed() const noexcept { return !error_.empty(); }
  /// "Protocol error: ..."
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

  /// Small limits until the client has authenticated.
  void set_stranger(bool stranger) noexcept { stranger_ = stranger; }
  /// How many more bytes the argument that is being received needs; 0: unknown.
  [[nodiscard]] std::size_t bytes_wanted() const noexcept;
  [[nodiscard]] std::size_t buffered_bytes() const noexcept { return end_ - begin_; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return capacity_; }

 private:
  struct Piece {  // of the request that is being read; offsets from its first byte
    std::size_t at;
    std::size_t bytes;
  };
  enum class Step { done, need_more, error };

  Step read_inline();
  Step read_array();
  Step read_array_header();
  Step read_bulk();
  Step skip_bulk();
  /// What is here of the request is of no use any more, nor is the rest of it.
  void begin_skipping(Excess why);
  Step fail(std::string text);
  /// The line at `at_` without its line end, or nullptr data when it is not whole yet.
  [[nodiscard]] std::string_view rest() const noexcept;
  void finish_request();

  RequestLimits limits_;
  bool stranger_ = false;
  std::unique_ptr<char[]> buffer_{};
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;  // first byte of the request that is being read
  std::size_t end_ = 0;
  std::size_t at_ = 0;     // bytes of it that were read
  std::int64_t items_left_ = -1;  // -1: no array is open
  std::int64_t bulk_bytes_ = -1;  // -1: no bulk is open
  std::size_t skip_bytes_ = 0;    // of the bulk that is not kept
  Excess excess_ = Excess::none;
  bool skipping_ = false;
  std::vector<Piece> pieces_{};
  std::vector<std::string> inline_words_{};
  std::vector<std::string_view> arguments_{};
  std::size_t taken_bytes_ = 0;  // of the request that arguments() shows
  std::string error_{};
};

/// Writes replies of either protocol version into one string.
class ReplyWriter {
 public:
  explicit ReplyWriter(std::size_t bytes_max) noexcept : bytes_max_{bytes_max} {}

  /// 2 or 3 (HELLO).
  int protocol = 2;

  void simple(std::string_view text);             // +OK
  void error(std::string_view text);              // -ERR ...; line ends become blanks
  void integer(std::int64_t number);
  void bulk(std::string_view bytes);
  void null();                                    // $-1 or _
  void null_array();                              // *-1 or _
  void number(double value);                      // bulk or ,
  void boolean(bool value);                       // 1, 0 or #t, #f
  void verbatim(std::string_view text);           // bulk or =txt:
  void array(std::size_t items);
  void map(std::size_t pairs);                    // an array of 2 * pairs, or %
  void set(std::size_t items);                    // an array, or ~
  /// Bytes that are a reply already.
  void raw(std::string_view reply);

  [[nodiscard]] std::size_t mark() const noexcept { return out_.size(); }
  [[nodiscard]] std::string_view since(std::size_t mark) const noexcept {
    return std::string_view{out_}.substr(std::min(mark, out_.size()));
  }
  /// Takes back everything that was written since mark().
  void rewind(std::size_t mark);
  /// Cuts off and returns what was written since mark().
  [[nodiscard]] std::string take_since(std::size_t mark);

  /// True when a reply did not fit `bytes_max`: what is here is not whole, close the connection.
  [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }
  [[nodiscard]] std::string_view pending() const noexcept {
    return std::string_view{out_}.substr(sent_);
  }
  void consume(std::size_t bytes) noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept { return out_.capacity(); }

 private:
  void put(std::string_view bytes);
  void header(char kind, std::int64_t number);

  std::size_t bytes_max_;
  std::string out_{};
  std::size_t sent_ = 0;
  bool overflowed_ = false;
};

/// A double as Redis prints it: shortest of 17 digits, "inf", "-inf", "nan".
[[nodiscard]] std::string format_double(double value);

}  // namespace cachee::daemon::resp
