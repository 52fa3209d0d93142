// Keys and the order in which they are asked for. Every store gets the same stream.
//
// Keys have 16 bytes and values 64. The stream is made beforehand and read in order, so that
// choosing a key costs no cache miss: what is measured is the store.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace cachee::bench {

inline constexpr std::size_t kKeyBytes = 16;
inline constexpr std::size_t kValueBytes = 64;

using Key = std::array<char, kKeyBytes>;

[[nodiscard]] inline std::string_view view(const Key& key) noexcept { return {key.data(), key.size()}; }

/// Spreads consecutive numbers over 64 bits; a bijection, so keys differ.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

[[nodiscard]] inline Key make_key(std::uint64_t number) noexcept {
  constexpr char kHex[] = "0123456789abcdef";
  Key key;
  std::uint64_t bits = mix(number);
  for (char& c : key) {
    c = kHex[bits & 15];
    bits >>= 4;
  }
  return key;
}

/// A value that names its key, so that a wrong answer is seen.
using ValueBytes = std::array<char, kValueBytes>;
[[nodiscard]] inline ValueBytes make_value(const Key& key, std::uint64_t turn) noexcept {
  ValueBytes value;
  value.fill('v');
  std::memcpy(value.data(), key.data(), key.size());
  std::memcpy(value.data() + key.size(), &turn, sizeof turn);
  return value;
}
[[nodiscard]] inline bool belongs(std::string_view value, const Key& key) noexcept {
  return value.size() == kValueBytes && std::memcmp(value.data(), key.data(), key.size()) == 0;
}

/// Zipf with exponent 0.99 over 1..n (Gray et al., "Quickly generating billion-record synthetic
/// databases"), as YCSB uses it.
class Zipf {
 public:
  explicit Zipf(std::uint64_t n) : n_{static_cast<double>(n)} {
    for (std::uint64_t i = 1; i <= n; ++i) zeta_ += 1.0 / std::pow(static_cast<double>(i), kTheta);
    const double zeta2 = 1.0 + std::pow(0.5, kTheta);
    alpha_ = 1.0 / (1.0 - kTheta);
    eta_ = (1.0 - std::pow(2.0 / n_, 1.0 - kTheta)) / (1.0 - zeta2 / zeta_);
  }
  /// Rank from 0, the most wanted first; `u` is uniform in [0, 1).
  [[nodiscard]] std::uint64_t rank(double u) const noexcept {
    const double uz = u * zeta_;
    if (uz < 1.0) return 0;
    if (uz < 1.0 + std::pow(0.5, kTheta)) return 1;
    const double r = n_ * std::pow(eta_ * u - eta_ + 1.0, alpha_);
    return r >= n_ ? static_cast<std::uint64_t>(n_) - 1 : static_cast<std::uint64_t>(r);
  }

 private:
  static constexpr double kTheta = 0.99;
  double n_;
  double zeta_ = 0;
  double alpha_ = 0;
  double eta_ = 0;
};

enum class Spread { zipf, uniform };

[[nodiscard]] inline std::vector<Key> make_stream(std::uint64_t key_count, std::size_t length,
                                                  Spread spread, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> unit{0.0, 1.0};
  const Zipf zipf{spread == Spread::zipf ? key_count : 1};
  std::vector<Key> stream(length);
  for (Key& key : stream) {
    const std::uint64_t rank = spread == Spread::zipf ? zipf.rank(unit(random)) : random() % key_count;
    key = make_key(rank);  // neighbours in rank are no neighbours in memory: keys are mixed
  }
  return stream;
}

}  // namespace cachee::bench
