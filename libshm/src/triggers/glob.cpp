// Redis glob. Iterative: on a mismatch it goes back to the last `*` only, so the work is at most
// pattern bytes × text bytes and the stack is one frame.
#include <cachee/triggers.hpp>

namespace cachee {
namespace {

/// Matches one character class at p (behind '['); returns the position behind ']' and the verdict.
std::size_t match_class(std::string_view pattern, std::size_t p, unsigned char c, bool& matched) noexcept {
  bool negate = false;
  if (p < pattern.size() && (pattern[p] == '^')) {
    negate = true;
    ++p;
  }
  bool hit = false;
  while (p < pattern.size() && pattern[p] != ']') {
    if (pattern[p] == '\\' && p + 1 < pattern.size()) {
      ++p;
      hit = hit || static_cast<unsigned char>(pattern[p]) == c;
      ++p;
    } else if (p + 2 < pattern.size() && pattern[p + 1] == '-') {
      // As in Redis whatever is behind the '-' ends the range, a ']' too.
      auto low = static_cast<unsigned char>(pattern[p]);
      auto high = static_cast<unsigned char>(pattern[p + 2]);
      if (low > high) std::swap(low, high);
      hit = hit || (c >= low && c <= high);
      p += 3;
    } else {
      hit = hit || static_cast<unsigned char>(pattern[p]) == c;
      ++p;
    }
  }
  matched = hit != negate;
  return p < pattern.size() ? p + 1 : p;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star_p = std::string_view::npos;
  std::size_t star_t = 0;
  while (t < text.size()) {
    bool matched = false;
    std::size_t next_p = p;
    if (p < pattern.size()) {
      const char c = pattern[p];
      if (c == '*') {
        star_p = ++p;
        star_t = t;
        if (p == pattern.size()) return true;
        continue;
      }
      if (c == '?') {
        matched = true;
        next_p = p + 1;
      } else if (c == '[') {
        next_p = match_class(pattern, p + 1, static_cast<unsigned char>(text[t]), matched);
      } else {
        const std::size_t literal = c == '\\' && p + 1 < pattern.size() ? p + 1 : p;
        matched = pattern[literal] == text[t];
        next_p = literal + 1;
      }
    }
    if (matched) {
      p = next_p;
      ++t;
    } else if (star_p != std::string_view::npos) {
      p = star_p;
      t = ++star_t;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace cachee
