// Create and attach: zeroed bytes become a valid segment, or a mapped one is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <cachee/result.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

/// Writes header and initial words into zeroed memory; the magic is published last, so nobody
/// attaches to half of a segment.
void format_segment(std::byte* base, const layout::Shape& shape) noexcept;

/// A pure decision over bytes: accepts a header or says what is wrong.
/// @error layout_mismatch  detail = major << 32 | minor that was found
/// @error corrupt          detail = offset of the field
[[nodiscard]] Result<View> attach_segment(std::byte* base, std::uint64_t bytes, bool writable) noexcept;

}  // namespace cachee::shm
