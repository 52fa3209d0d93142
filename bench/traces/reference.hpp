// Reference simulators of published eviction policies, to compare the real sweep with.
//
// They hold no values: keys are dense numbers, sizes come with each access. Capacity is in the unit
// of the sizes (1 each: objects). An object larger than the capacity is not taken. What they give on
// the public traces agrees with libCacheSim's figures (reference_test.cpp).
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

inline constexpr std::string_view kReferenceNames[] = {"FIFO", "LRU", "CLOCK", "SIEVE", "S3-FIFO", "ARC"};

/// `keys`: one more than the largest key. Null for a name that is not in kReferenceNames.
[[nodiscard]] std::unique_ptr<Reference> make_reference(std::string_view name, std::uint64_t capacity, std::uint32_t keys);

}  // namespace cachee::bench
