// Claim: glob_match() agrees with the plain recursive definition of a Redis glob, and a compiled table
// (TriggerMatcher) with glob_match(), for any pattern and text. Input: pattern, a zero byte, text.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <cachee/maintain.hpp>
#include <cachee/triggers.hpp>

namespace {

/// One element of a pattern: what it is and the bytes it takes.
struct Element {
  enum Kind { star, any, one_of, literal } kind;
  std::size_t bytes;
};

Element element_of(std::string_view p) {
  if (p[0] == '*') return {Element::star, 1};
  if (p[0] == '?') return {Element::any, 1};
  if (p[0] != '[') return {Element::literal, p[0] == '\\' && p.size() > 1 ? std::size_t{2} : std::size_t{1}};
  std::size_t at = 1;
  if (at < p.size() && p[at] == '^') ++at;
  while (at < p.size() && p[at] != ']') {
    if (p[at] == '\\' && at + 1 < p.size()) {
      at += 2;
    } else if (at + 2 < p.size() && p[at + 1] == '-') {
      at += 3;
    } else {
      ++at;
    }
  }
  return {Element::one_of, std::min(p.size(), at + 1)};
}

bool one_matches(std::string_view element, Element::Kind kind, unsigned char c) {
  if (kind == Element::any) return true;
  if (kind == Element::literal) return static_cast<unsigned char>(element.back()) == c;
  std::size_t at = 1;
  const bool negate = at < element.size() && element[at] == '^';
  if (negate) ++at;
  bool hit = false;
  while (at < element.size() && element[at] != ']') {
    if (element[at] == '\\' && at + 1 < element.size()) {
      hit = hit || static_cast<unsigned char>(element[at + 1]) == c;
      at += 2;
    } else if (at + 2 < element.size() && element[at + 1] == '-') {
      const auto a = static_cast<unsigned char>(element[at]);
      const auto b = static_cast<unsigned char>(element[at + 2]);
      hit = hit || (c >= std::min(a, b) && c <= std::max(a, b));
      at += 3;
    } else {
      hit = hit || static_cast<unsigned char>(element[at]) == c;
      ++at;
    }
  }
  return hit != negate;
}

/// The definition, as a table over (elements left, text left): quadratic and plainly right.
bool reference_match(std::string_view pattern, std::string_view text) {
  std::vector<std::string_view> parts;
  std::vector<Element::Kind> kinds;
  for (std::size_t at = 0; at < pattern.size();) {
    const Element e = element_of(pattern.substr(at));
    parts.push_back(pattern.substr(at, e.bytes));
    kinds.push_back(e.kind);
    at += e.bytes;
  }
  std::vector<std::vector<char>> fits(parts.size() + 1, std::vector<char>(text.size() + 1, 0));
  fits[parts.size()][text.size()] = 1;
  for (std::size_t i = parts.size(); i-- > 0;) {
    for (std::size_t t = text.size() + 1; t-- > 0;) {
      const bool here = t < text.size() && (kinds[i] == Element::star ? fits[i][t + 1] != 0
                                            : one_matches(parts[i], kinds[i], static_cast<unsigned char>(text[t])) &&
                                                  fits[i + 1][t + 1] != 0);
      fits[i][t] = here || (kinds[i] == Element::star && fits[i + 1][t] != 0) ? 1 : 0;
    }
  }
  return fits[0][0] != 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const std::size_t cut = bytes.find('\0');
  if (cut == std::string_view::npos || cut > cachee::kPatternBytesMax) return 0;
  const std::string_view pattern = bytes.substr(0, cut);
  const std::string_view text = bytes.substr(cut + 1);
  const bool matched = cachee::glob_match(pattern, text);
  if (matched != reference_match(pattern, text)) std::abort();
  cachee::TriggerTable table;
  table.triggers.push_back({.name = "t", .pattern = std::string{pattern}, .events = 2});
  bool told = false;
  cachee::TriggerMatcher{table}.match(cachee::EventKind::write, text, [&](std::size_t) { told = true; });
  if (told != matched) std::abort();
  return 0;
}
