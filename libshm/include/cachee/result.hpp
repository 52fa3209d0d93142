// Errors of every Cachee library call: Errc, Error, Result<T>.
//
// Use:   auto value = cache.get("k");
//        if (!value) return value.error();      // Error: code, errno, detail
//        use(*value);
//
// Limits: an Error never allocates; to_string(Error) does, so keep it off fast paths.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace cachee {

/// One numbering for C++, C and Python. Numbers are never reused inside a major version.
enum class Errc : std::int32_t {
  ok = 0,
  // Outcomes: part of normal use, not logged.
  not_found = 1,
  exists = 2,
  stale = 3,         // compare_and_set saw another version
  full = 4,          // event ring full: BACKPRESSURE, nothing was applied
  lapped = 5,
  would_block = 6,
  timed_out = 7,
  not_a_number = 8,  // increment of a value that is not an integer
  overflow = 9,      // increment past the range of int64
  // Environment: the machine said no; os_errno is set.
  no_space = 32,       // segment (or /dev/shm) has no room for this
  io = 33,
  permission = 34,
  busy = 35,           // name, slot or lock is taken; detail may hold the holder's pid
  unsupported = 36,
  no_supervisor = 37,  // the operation needs cacheed and none is running
  no_segment = 38,     // nothing of that name exists
  // Contract: somebody is wrong; counted, and logged by the daemon.
  invalid_argument = 64,  // to_string(Error) names the rule that was broken, and its limit
  layout_mismatch = 65,
  corrupt = 66,  // the segment breaks a rule; detail = offset
  closed = 67,   // handle closed, or used in a forked child
  read_only = 68,
};

struct Error {
  Errc code = Errc::ok;
  std::int32_t os_errno = 0;
  std::uint64_t detail = 0;
  friend bool operator==(const Error&, const Error&) = default;
};

/// Name of a code, as spelled in the enum; for messages, metrics and Python class names.
[[nodiscard]] const char* to_string(Errc code) noexcept;
/// One sentence that says what happened. Allocates.
[[nodiscard]] std::string to_string(const Error& error);

/// A value or an Error, with the interface of std::expected.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)  // NOLINT(*-explicit-*)
      : has_value_{true} {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }
  /// The value made in place from its members.
  template <class... Members>
  explicit Result(std::in_place_t, Members&&... members) : has_value_{true} {
    ::new (static_cast<void*>(&value_)) T{std::forward<Members>(members)...};
  }
  Result(Error error) noexcept : has_value_{false}, error_{error} {}  // NOLINT(*-explicit-*)
  Result(Errc code) noexcept : Result(Error{code, 0, 0}) {}           // NOLINT(*-explicit-*)
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_{other.has_value_} {
    if (has_value_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      error_ = other.error_;
    }
  }
  Result(const Result& other) : has_value_{other.has_value_} {
    if (has_value_) {
      ::new (static_cast<void*>(&value_)) T(other.value_);
    } else {
      error_ = other.error_;
    }
  }
  Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      this->~Result();
      ::new (static_cast<void*>(this)) Result(std::move(other));
    }
    return *this;
  }
  Result& operator=(const Result& other) {
    if (this != &other) *this = Result(other);
    return *this;
  }
  ~Result() {
    if (has_value_) value_.~T();
  }

  [[nodiscard]] bool has_value() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value_; }
  /// Aborts when there is no value: check first.
  [[nodiscard]] T& value() & noexcept { return require(), value_; }
  [[nodiscard]] const T& value() const& noexcept { return require(), value_; }
  [[nodiscard]] T&& value() && noexcept { return require(), std::move(value_); }
  [[nodiscard]] T& operator*() & noexcept { return value(); }
  [[nodiscard]] const T& operator*() const& noexcept { return value(); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() noexcept { return &value(); }
  [[nodiscard]] const T* operator->() const noexcept { return &value(); }
  [[nodiscard]] Error error() const noexcept { return has_value_ ? Error{} : error_; }
  [[nodiscard]] Errc code() const noexcept { return has_value_ ? Errc::ok : error_.code; }
  template <class U>
  [[nodiscard]] T value_or(U&& fallback) const& {
    return has_value_ ? value_ : static_cast<T>(std::forward<U>(fallback));
  }

 private:
  void require() const noexcept {
    if (!has_value_) std::abort();
  }
  bool has_value_;
  union {
    T value_;
    Error error_;
  };
};

/// Success or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() noexcept = default;
  Result(Error error) noexcept : error_{error} {}            // NOLINT(*-explicit-*)
  Result(Errc code) noexcept : error_{code, 0, 0} {}         // NOLINT(*-explicit-*)
  [[nodiscard]] bool has_value() const noexcept { return error_.code == Errc::ok; }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const noexcept {
    if (!has_value()) std::abort();
  }
  [[nodiscard]] Error error() const noexcept { return error_; }
  [[nodiscard]] Errc code() const noexcept { return error_.code; }

 private:
  Error error_{};
};

}  // namespace cachee
