#include "core/units.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

namespace cachee::daemon {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr Unit kByteUnits[] = {{"GiB", std::uint64_t{1} << 30}, {"MiB", std::uint64_t{1} << 20},
                               {"KiB", std::uint64_t{1} << 10}, {"G", std::uint64_t{1} << 30},
                               {"M", std::uint64_t{1} << 20},   {"K", std::uint64_t{1} << 10}};

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr Unit kTimeUnits[] = {{"d", 86400 * kSecondNs}, {"h", 3600 * kSecondNs},
                               {"m", 60 * kSecondNs},    {"s", kSecondNs},
                               {"ms", 1'000'000},        {"us", 1'000}};

constexpr std::size_t kNearestWordBytesMax = 64;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) noexcept { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Edits (insert, delete, replace, swap of neighbours) between two short words.
std::size_t distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> cell((a.size() + 1) * width);
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      auto& here = cell[i * width + j];
      if (i == 0 || j == 0) {
        here = i + j;
        continue;
      }
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      here = std::min({cell[(i - 1) * width + j] + 1, cell[i * width + j - 1] + 1,
                       cell[(i - 1) * width + j - 1] + (same ? 0u : 1u)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        here = std::min(here, cell[(i - 2) * width + j - 2] + 1);
      }
    }
  }
  return cell.back();
}

// One "<number>[.<fraction>]<unit>" at the start of `text`, which is shortened by it.
std::optional<std::uint64_t> take_duration_part(std::string_view& text,
                                                std::uint64_t bare_unit_ns) noexcept {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) ++digits;
  std::uint64_t whole = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + digits, whole);
  if (digits == 0 || parsed.ec != std::errc{}) return std::nullopt;
  text.remove_prefix(digits);
  std::string_view fraction;
  if (text.starts_with('.')) {
    std::size_t end = 1;
    while (end < text.size() && is_digit(text[end])) ++end;
    fraction = text.substr(1, end - 1);
    if (fraction.empty() || fraction.size() > 9) return std::nullopt;
    text.remove_prefix(end);
  }
  std::size_t letters = 0;
  while (letters < text.size() && text[letters] >= 'a' && text[letters] <= 'z') ++letters;
  const std::string_view name = text.substr(0, letters);
  text.remove_prefix(letters);
  std::uint64_t factor = name.empty() ? bare_unit_ns : 0;
  for (const Unit& unit : kTimeUnits) {
    if (unit.name == name) factor = unit.factor;
  }
  if (factor == 0) return std::nullopt;
  if (whole > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor) {
    return std::nullopt;
  }
  std::uint64_t total = whole * factor;
  std::uint64_t scale = factor;
  for (const char digit : fraction) {
    // A fraction finer than a nanosecond is dropped: nothing here can wait for less.
    scale /= 10;
    total += scale * static_cast<std::uint64_t>(digit - '0');
  }
  return total;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept {
  std::uint64_t factor = 1;
  for (const Unit& unit : kByteUnits) {
    if (text.size() > unit.name.size() &&
        equal_ignoring_case(text.substr(text.size() - unit.name.size()), unit.name)) {
      factor = unit.factor;
      text.remove_suffix(unit.name.size());
      break;
    }
  }
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  if (number > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  return number * factor;
}

std::string format_bytes(std::uint64_t bytes) {
  for (const Unit& unit : kByteUnits) {
    if (bytes != 0 && bytes % unit.factor == 0) {
      return std::to_string(bytes / unit.factor) + std::string{unit.name};
    }
  }
  return std::to_string(bytes);
}

std::optional<std::chrono::nanoseconds> parse_duration(
    std::string_view text, std::chrono::nanoseconds bare_unit) noexcept {
  if (text.empty()) return std::nullopt;
  std::uint64_t total = 0;
  while (!text.empty()) {
    const auto part = take_duration_part(text, static_cast<std::uint64_t>(bare_unit.count()));
    if (!part) return std::nullopt;
    total += *part;
    if (total > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return std::nullopt;
    }
  }
  return std::chrono::nanoseconds{static_cast<std::int64_t>(total)};
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
  if (ns == 0) return "0s";
  for (const Unit& unit : kTimeUnits) {
    if (ns % unit.factor == 0) return std::to_string(ns / unit.factor) + std::string{unit.name};
  }
  return std::to_string(ns / 1000) + "us";
}

std::optional<std::int64_t> parse_integer(std::string_view text) noexcept {
  if (text.empty() || text.size() > 20) return std::nullopt;
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || !is_digit(digits[0])) return std::nullopt;
  if (digits[0] == '0' && text.size() > 1) return std::nullopt;
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<double> parse_double(std::string_view text) noexcept {
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string to_lower(std::string_view text) {
  std::string result{text};
  std::transform(result.begin(), result.end(), result.begin(), lower);
  return result;
}

std::string to_upper(std::string_view text) {
  std::string result{text};
  std::transform(result.begin(), result.end(), result.begin(), upper);
  return result;
}

std::optional<std::string_view> nearest_word(std::string_view word,
                                             std::span<const std::string_view> candidates) {
  if (word.size() > kNearestWordBytesMax) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    const std::size_t far = distance(word, candidate);
    const std::size_t allowed = 1 + std::min(word.size(), candidate.size()) / 4;
    if (far <= allowed && (!best || far < best_distance)) {
      best = candidate;
      best_distance = far;
    }
  }
  return best;
}

}  // namespace cachee::daemon
