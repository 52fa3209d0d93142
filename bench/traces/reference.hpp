// Reference simulators of published eviction policies, to compare the real sweep with.
//
// They hold no values: keys are dense numbers, sizes come with each access. Capacity is in the unit
// of the sizes (1 each: objects). An object larger than the capacity is not taken. main.cpp compares
// what they give on the public traces with libCacheSim's figures, where those are published.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace cachee::bench {

class Reference {
 public:
  virtual ~Reference() = default;
  /// Reads a key, and takes it in on a miss. True: it was there.
  virtual bool access(std::uint32_t key, std::uint64_t size) = 0;
};

inline constexpr std::string_view kReferenceNames[] = {"FIFO", "LRU", "CLOCK", "SIEVE", "S3-FIFO", "ARC", "LIRS", "W-TinyLFU"};

/// `keys`: one more than the largest key. Null for a name that is not in kReferenceNames.
[[nodiscard]] std::unique_ptr<Reference> make_reference(std::string_view name, std::uint64_t capacity, std::uint32_t keys);

[[nodiscard]] std::unique_ptr<Reference> make_lirs(std::uint64_t capacity, std::uint32_t keys);
[[nodiscard]] std::unique_ptr<Reference> make_tiny_lfu(std::uint64_t capacity, std::uint32_t keys);

}  // namespace cachee::bench
