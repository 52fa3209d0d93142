// Versions of the library, its C ABI and the segment layout.
#pragma once

#include <cstdint>

namespace cachee {

inline constexpr const char* kVersion = "0.1.0";
inline constexpr std::uint32_t kAbiVersion = 1;
inline constexpr std::uint32_t kLayoutMajor = 3;
inline constexpr std::uint32_t kLayoutMinor = 0;

}  // namespace cachee
