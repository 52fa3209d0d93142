// Hash of a key: 64 bits, seeded per segment so that nobody outside can aim at one bucket.
// Multiply-and-fold over 64-bit words (the construction of wyhash and its kin).
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace cachee::base {

inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline constexpr std::uint64_t kHashA = 0x9e3779b97f4a7c15ull;
inline constexpr std::uint64_t kHashB = 0xd1b54a32d192ed03ull;
inline constexpr std::uint64_t kHashC = 0x8cb92ba72f3d8dd7ull;

inline std::uint64_t load_word(const char* p) noexcept {
  std::uint64_t w;
  std::memcpy(&w, p, sizeof w);
  return w;
}
inline std::uint64_t load_tail(const char* p, std::size_t bytes) noexcept {  // bytes in 1..7
  std::uint64_t w = 0;
  std::memcpy(&w, p, bytes);
  return w;
}

inline std::uint64_t hash_bytes(std::string_view key, std::uint64_t seed) noexcept {
  const char* p = key.data();
  std::size_t left = key.size();
  std::uint64_t h = seed ^ fold(key.size() ^ kHashA, kHashB);
  while (left >= 16) {
    h = fold(load_word(p) ^ kHashB ^ h, load_word(p + 8) ^ kHashC);
    p += 16;
    left -= 16;
  }
  if (left >= 8) {
    h = fold(load_word(p) ^ kHashB ^ h, kHashC);
    p += 8;
    left -= 8;
  }
  if (left > 0) h = fold(load_tail(p, left) ^ kHashA ^ h, kHashB);
  return fold(h ^ kHashC, kHashA);
}

}  // namespace cachee::base
