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
/// Up to 8 bytes as one word, without a loop: of 4 to 7 bytes the halves overlap, of 1 to 3 the
/// first, the middle and the last are taken, which are all there are.
inline std::uint64_t load_short(const char* p, std::size_t bytes) noexcept {
  if (bytes >= 8) return load_word(p);
  if (bytes >= 4) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, p, sizeof low);
    std::memcpy(&high, p + bytes - sizeof high, sizeof high);
    return low | std::uint64_t{high} << 32;
  }
  if (bytes == 0) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])); };
  return byte(0) | byte(bytes / 2) << 8 | byte(bytes - 1) << 16;
}

/// The last 16 bytes are taken as two words that may overlap what came before; the length is part
/// of the hash, so that overlaps make no two keys alike.
inline std::uint64_t hash_bytes(std::string_view key, std::uint64_t seed) noexcept {
  const char* p = key.data();
  const std::size_t bytes = key.size();
  std::uint64_t h = seed;
  if (bytes > 16) [[unlikely]] {
    for (std::size_t left = bytes; left > 16; left -= 16, p += 16) {
      h = fold(load_word(p) ^ kHashB ^ h, load_word(p + 8) ^ kHashC);
    }
    p = key.data() + bytes - 16;
  }
  const bool two = bytes >= 8;
  const std::uint64_t first = two ? load_word(p) : load_short(p, bytes);
  const std::uint64_t last = two ? load_word(key.data() + bytes - 8) : 0;
  return fold(fold(first ^ kHashB ^ h, last ^ kHashC) ^ bytes, kHashA);
}

}  // namespace cachee::base
