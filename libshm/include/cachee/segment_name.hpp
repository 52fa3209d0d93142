// What a segment may be called: one rule for cacheed, for `cachee` and for every library.
//
// Use:   if (!cachee::is_segment_name(name)) return refuse(name, cachee::kSegmentNameRule);
//
// A name becomes the file `cachee.<name>` in /dev/shm, with the folder `cachee.<name>.locks` beside it,
// `<name>.sock` and a folder `<name>` for the state: so it is no path, and not the lock folder of another.
#pragma once

#include <string_view>

#include <cachee/types.hpp>

namespace cachee {

/// The rule in words, behind "expected" or "use".
inline constexpr std::string_view kSegmentNameRule =
    "1 to 64 characters of a-z0-9_.-, other than . and .., and not ending in .locks";
static_assert(kNameBytesMax == 64, "the words above say so");

[[nodiscard]] constexpr bool is_segment_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kNameBytesMax || name == "." || name == ".." || name.ends_with(".locks")) return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") == std::string_view::npos;
}

}  // namespace cachee
