// Values as bytes and back: little-endian, length-prefixed, closed by a checksum.
//
// Use:   ByteWriter out{kVersion};            ByteReader in{bytes, kVersion};
//        out.put(std::uint32_t{7});           const auto number = in.get<std::uint32_t>();
//        out.put_string(key);                 const auto key = in.get_string();
//        return out.finish();                 if (!in.finish()) return std::nullopt;
//
// The reader is total: after the first damage every get returns a zero value and finish() says
// false; what is allocated on the way stays in proportion to the input.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace cachee::daemon {

static_assert(std::endian::native == std::endian::little, "stored bytes are little-endian");

/// Finds damage, not malice: 64 bits over any bytes, eight at a time.
[[nodiscard]] inline std::uint64_t checksum64(std::string_view bytes) noexcept {
  std::uint64_t state = 0x9e3779b97f4a7c15ull ^ bytes.size();
  const auto mix = [&state](std::uint64_t word) noexcept {
    state = (state ^ word) * 0xff51afd7ed558ccdull;
    state ^= state >> 32;
  };
  while (bytes.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    mix(word);
    bytes.remove_prefix(sizeof(word));
  }
  std::uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  mix(rest);
  mix(state >> 29);
  return state;
}

class ByteWriter {
 public:
  explicit ByteWriter(std::uint8_t version) { put(version); }

  template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) void put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
  }
  void put_bool(bool value) { put(static_cast<std::uint8_t>(value ? 1 : 0)); }
  void put_string(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    bytes_.append(text);
  }
  /// Adds the checksum and hands the bytes over.
  [[nodiscard]] std::string finish() {
    put(checksum64(bytes_));
    return std::move(bytes_);
  }

 private:
  std::string bytes_{};
};

class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::uint8_t version) noexcept {
    std::uint64_t sum = 0;
    failed_ = bytes.size() < sizeof(sum);
    if (failed_) return;
    rest_ = bytes.substr(0, bytes.size() - sizeof(sum));
    std::memcpy(&sum, bytes.data() + rest_.size(), sizeof(sum));
    if (sum != checksum64(rest_) || get<std::uint8_t>() != version) fail();
  }

  template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) [[nodiscard]] T get() noexcept {
    T value{};
    if (rest_.size() < sizeof(T)) {
      fail();
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  [[nodiscard]] bool get_bool() noexcept {
    const auto raw = get<std::uint8_t>();
    if (raw > 1) fail();
    return raw == 1;
  }
  [[nodiscard]] std::string get_string() {
    const auto bytes = get<std::uint64_t>();
    if (bytes > rest_.size()) {
      fail();
      return {};
    }
    std::string text{rest_.substr(0, static_cast<std::size_t>(bytes))};
    rest_.remove_prefix(static_cast<std::size_t>(bytes));
    return text;
  }
  /// A number of things that follow, each of at least `item_bytes_min` bytes.
  [[nodiscard]] std::uint32_t get_count(std::size_t item_bytes_min) noexcept {
    const auto count = get<std::uint32_t>();
    if (count > rest_.size() / item_bytes_min) {
      fail();
      return 0;
    }
    return count;
  }
  /// A number of an enum whose largest value is `last`.
  template <class E>
  [[nodiscard]] E get_enum(E last) noexcept {
    const auto raw = get<std::underlying_type_t<E>>();
    if (raw > static_cast<std::underlying_type_t<E>>(last)) {
      fail();
      return E{};
    }
    return static_cast<E>(raw);
  }
  void fail() noexcept {
    failed_ = true;
    rest_ = {};
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  /// True when everything was read and nothing was wrong.
  [[nodiscard]] bool finish() const noexcept { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_{};
  bool failed_ = false;
};

}  // namespace cachee::daemon
