// Pages and size classes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/bits.hpp"
#include "layout/record_layout.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

/// Page word: kind (3) | class (8) | client (10) | length or distance in pages (32).
struct PageWord {
  enum Kind : std::uint64_t { kFree = 0, kSlab = 1, kInit = 2, kRunHead = 3, kRunTail = 4, kRunClaim = 5, kDrain = 6 };
  using KindField = Field<0, 3>;
  using Class = Field<3, 8>;
  using Client = Field<11, 10>;
  using Length = Field<21, 32>;  // run head: pages of the run; run tail: distance to the head
  static constexpr std::uint64_t make(Kind kind, std::uint64_t size_class, std::uint64_t client,
                                      std::uint64_t length) noexcept {
    return KindField::make(kind) | Class::make(size_class) | Client::make(client) | Length::make(length);
  }
  static constexpr Kind kind(std::uint64_t w) noexcept { return static_cast<Kind>(KindField::get(w)); }
  /// A free page that the supervisor keeps for runs; its class is 1.
  static constexpr std::uint64_t kept() noexcept { return make(kFree, 1, 0, 0); }
  static constexpr bool is_kept(std::uint64_t w) noexcept { return w == kept(); }
};

/// Block sizes: 8 steps a doubling (waste at most 1/8), from kBlockBytesMin to half of the largest
/// page. A segment uses those up to half of its own page size; larger records take runs of pages.
inline constexpr std::uint64_t kPageBytesMin = 4096;
inline constexpr std::uint64_t kPageBytesMax = 65536;

constexpr std::uint64_t next_block_bytes(std::uint64_t bytes) noexcept {
  std::uint64_t step = 8;
  while (step * 16 <= bytes) step *= 2;
  return bytes + step;
}
constexpr unsigned count_classes(std::uint64_t bytes_max) noexcept {
  unsigned n = 0;
  for (std::uint64_t b = kBlockBytesMin; b <= bytes_max; b = next_block_bytes(b)) ++n;
  return n;
}
inline constexpr unsigned kClassesMax = count_classes(kPageBytesMax / 2);
constexpr auto make_class_table() noexcept {
  std::array<std::uint32_t, kClassesMax> table{};
  std::uint64_t b = kBlockBytesMin;
  for (auto& entry : table) {
    entry = static_cast<std::uint32_t>(b);
    b = next_block_bytes(b);
  }
  return table;
}
inline constexpr auto kClassBytes = make_class_table();
/// Number of the block of a class that holds byte `at` of a page: a multiplication, since a division
/// by a size that the compiler does not know costs as much as a write's other arithmetic together.
constexpr auto make_reciprocals() noexcept {
  std::array<std::uint64_t, kClassesMax> table{};
  for (unsigned i = 0; i < kClassesMax; ++i) table[i] = (std::uint64_t{1} << 32) / kClassBytes[i] + 1;
  return table;
}
inline constexpr auto kClassReciprocals = make_reciprocals();
constexpr std::uint64_t block_index(unsigned size_class, std::uint64_t at) noexcept {
  return (at * kClassReciprocals[size_class]) >> 32;
}
constexpr bool reciprocals_are_exact() noexcept {
  for (unsigned i = 0; i < kClassesMax; ++i) {
    for (std::uint64_t n = 1; n * kClassBytes[i] <= kPageBytesMax; ++n) {
      if (block_index(i, n * kClassBytes[i] - 1) != n - 1 || block_index(i, n * kClassBytes[i]) != n) return false;
    }
  }
  return true;
}
static_assert(reciprocals_are_exact());
static_assert(kClassBytes.front() == 64 && kClassBytes.back() == kPageBytesMax / 2);
static_assert(kClassesMax < 255);

/// The class of the smallest block that holds `bytes`; kClassesMax when none does.
constexpr unsigned class_of(std::uint64_t bytes) noexcept {
  if (bytes <= 128) return bytes <= 64 ? 0u : static_cast<unsigned>((bytes - 64 + 7) / 8);
  unsigned shift = 63u - static_cast<unsigned>(__builtin_clzll(bytes - 1));  // 2^shift < bytes <= 2^(shift+1)
  const std::uint64_t step = std::uint64_t{1} << (shift - 3);
  const std::uint64_t base_bytes = std::uint64_t{1} << shift;
  const auto nth = static_cast<unsigned>((bytes - base_bytes + step - 1) / step);  // 1..8
  return std::min(kClassesMax, 8 + (shift - 7) * 8 + nth);
}
static_assert(kClassBytes[class_of(64)] == 64 && kClassBytes[class_of(65)] == 72);
static_assert(kClassBytes[class_of(136)] == 144 && kClassBytes[class_of(4096)] == 4096);
static_assert(kClassBytes[class_of(32768)] == 32768 && class_of(32769) == kClassesMax);

}  // namespace cachee::layout
