// SmallBlocks: memory for the strings and tables of runs, most of which live for one run only.
//
// Blocks of up to kBlockBytesMax bytes come from one region and go back to a list by size: a few instructions
// each, where malloc takes a hundred. When the region is used up, the caller is told so and asks malloc. Sizes
// are the caller's to know, as Lua knows them.
//
// Threads: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace cachee::daemon::script {

class SmallBlocks {
 public:
  static constexpr std::size_t kBlockBytesMax = 256;

  SmallBlocks() = default;
  SmallBlocks(const SmallBlocks&) = delete;
  SmallBlocks& operator=(const SmallBlocks&) = delete;
  ~SmallBlocks() { std::free(region_); }

  /// 1 to kBlockBytesMax bytes; null: the region has none left of this size.
  [[nodiscard]] void* take(std::size_t bytes) noexcept {
    Free*& first = free_[list_of(bytes)];
    if (first != nullptr) {
      Free* const block = first;
      first = block->next;
      return block;
    }
    return take_new(rounded(bytes));
  }
  [[nodiscard]] bool owns(const void* block) const noexcept {
    return reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(region_) < kRegionBytes;
  }
  /// Takes back a block that owns() knows, of the size that it was asked for with.
  void give(void* block, std::size_t bytes) noexcept {
    Free*& first = free_[list_of(bytes)];
    first = new (block) Free{first};
  }
  /// Two sizes whose blocks are the same.
  [[nodiscard]] static constexpr bool same_list(std::size_t bytes, std::size_t other) noexcept {
    return bytes <= kBlockBytesMax && other <= kBlockBytesMax && list_of(bytes) == list_of(other);
  }

 private:
  struct Free {
    Free* next;
  };
  static constexpr std::size_t kUnit = 16;  // as aligned as malloc's
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kForChecker = true;  // it knows malloc's blocks and not ours
#else
  static constexpr bool kForChecker = false;
#endif
  // More than the garbage of some busy triggers grows to between two collections; pages count when touched.
  static constexpr std::size_t kRegionBytes = std::size_t{4} << 20;

  [[nodiscard]] static constexpr std::size_t rounded(std::size_t bytes) noexcept { return (bytes + kUnit - 1) / kUnit * kUnit; }
  [[nodiscard]] static constexpr std::size_t list_of(std::size_t bytes) noexcept { return (bytes - 1) / kUnit; }
  [[nodiscard]] void* take_new(std::size_t bytes) noexcept {
    if constexpr (kForChecker) return nullptr;
    if (region_ == nullptr) region_ = static_cast<std::byte*>(std::aligned_alloc(kUnit, kRegionBytes));
    if (region_ == nullptr || kRegionBytes - used_ < bytes) return nullptr;
    used_ += bytes;
    return region_ + (used_ - bytes);
  }

  std::byte* region_ = nullptr;
  std::size_t used_ = 0;
  std::array<Free*, kBlockBytesMax / kUnit> free_{};
};

}  // namespace cachee::daemon::script
