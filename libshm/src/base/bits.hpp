// Powers of two, alignment and bit fields of 64-bit words.
#pragma once

#include <bit>
#include <cstdint>

namespace cachee::base {

inline constexpr std::uint64_t kCacheLineBytes = 64;

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) / alignment * alignment;
}
constexpr std::uint64_t low_mask(unsigned bits) noexcept {
  return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

/// A field of `bits` bits at `shift` of a word.
template <unsigned shift, unsigned bits>
struct Field {
  static constexpr std::uint64_t kMax = low_mask(bits);
  static constexpr std::uint64_t kMask = kMax << shift;
  static constexpr std::uint64_t get(std::uint64_t word) noexcept { return (word >> shift) & kMax; }
  static constexpr std::uint64_t make(std::uint64_t value) noexcept { return (value & kMax) << shift; }
  static constexpr std::uint64_t set(std::uint64_t word, std::uint64_t value) noexcept {
    return (word & ~kMask) | make(value);
  }
};

}  // namespace cachee::base
