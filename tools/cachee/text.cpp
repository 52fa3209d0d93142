#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>
#include <utility>

#include <core/units.hpp>  // shared with the daemon; depends on std only
#include <fmt/format.h>

namespace cachee::cli {
namespace {

constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kSuggestionDistanceMax = 2;

unsigned char byte_at(std::string_view text, std::size_t index) noexcept {
  return static_cast<unsigned char>(text[index]);
}

/// Bytes of the well-formed UTF-8 character at `index`; 0 when there is none.
std::size_t utf8_step(std::string_view text, std::size_t index) noexcept {
  const unsigned char lead = byte_at(text, index);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) second_min = 0xA0;
    if (lead == 0xED) second_max = 0x9F;  // surrogates are not characters
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) second_min = 0x90;
    if (lead == 0xF4) second_max = 0x8F;
  } else {
    return 0;
  }
  if (text.size() - index < length) return 0;
  if (byte_at(text, index + 1) < second_min || byte_at(text, index + 1) > second_max) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte_at(text, index + i) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

bool is_control(std::string_view text, std::size_t index, std::size_t step) noexcept {
  if (step == 1) return byte_at(text, index) < 0x20 || byte_at(text, index) == 0x7F;
  // U+0080 to U+009F: a terminal may take them as commands.
  return step == 2 && byte_at(text, index) == 0xC2 && byte_at(text, index + 1) < 0xA0;
}

void append_escaped(std::string& out, unsigned char byte) {
  switch (byte) {
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\a':
      out += "\\a";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '"':
      out += "\\\"";
      break;
    default:
      out += fmt::format("\\x{:02x}", byte);
  }
}

struct DurationUnit {
  std::string_view name;
  double nanoseconds;
};
// Longer names first, so that "ms" is not read as "m".
constexpr std::array<DurationUnit, 7> kDurationUnits{{{"us", 1e3},
                                                      {"ms", 1e6},
                                                      {"ns", 1.0},
                                                      {"s", 1e9},
                                                      {"m", 60e9},
                                                      {"h", 3600e9},
                                                      {"d", 86400e9}}};
// A century: far above every use, far below the range of nanoseconds in 64 bits.
constexpr double kDurationMaxNs = kDurationDaysMax * 86400e9;

/// Reads digits and at most one point; from_chars would also take "1e5", "inf" and "nan".
std::optional<double> take_decimal(std::string_view& text) noexcept {
  const std::size_t length = std::min(text.find_first_not_of("0123456789."), text.size());
  double value = 0;
  const char* const end = text.data() + length;
  const auto [stop, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (length == 0 || error != std::errc{} || stop != end) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

/// A duration of any length; infinite at worst.
std::optional<double> total_ns(std::string_view text) noexcept {
  if (text.empty()) return std::nullopt;
  double total = 0;
  bool first = true;
  while (!text.empty()) {
    const auto number = take_decimal(text);
    if (!number) return std::nullopt;
    if (first && text.empty()) return *number * 1e9;
    const auto unit = std::find_if(kDurationUnits.begin(), kDurationUnits.end(),
                                   [&](const auto& u) { return text.starts_with(u.name); });
    if (unit == kDurationUnits.end()) return std::nullopt;
    text.remove_prefix(unit->name.size());
    total += *number * unit->nanoseconds;
    first = false;
  }
  return total;
}

/// Insertions, deletions, changes and swaps of neighbours that make one word of the other.
std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> before(right.size() + 1);
  std::vector<std::size_t> above(right.size() + 1);
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::swap(before, above);
    std::swap(above, row);
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t change = left[i - 1] == right[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + change});
      const bool swapped =
          i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

bool is_utf8(std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t step = utf8_step(bytes, i);
    if (step == 0) return false;
    i += step;
  }
  return true;
}

bool is_plain_text(std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t step = utf8_step(bytes, i);
    if (step == 0) return false;
    if (is_control(bytes, i, step) && bytes[i] != '\n' && bytes[i] != '\t') return false;
    i += step;
  }
  return true;
}

std::string display(std::string_view bytes) {
  const bool plain = !bytes.empty() && bytes.front() != '"' && bytes.front() != ' ' &&
                     bytes.back() != ' ' && is_plain_text(bytes) &&
                     bytes.find_first_of("\n\t") == std::string_view::npos;
  return plain ? std::string{bytes} : quote(bytes);
}

std::string quote(std::string_view bytes) {
  std::string out = "\"";
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t step = utf8_step(bytes, i);
    const bool escape =
        step == 0 || is_control(bytes, i, step) || bytes[i] == '"' || bytes[i] == '\\';
    const std::size_t length = std::max<std::size_t>(step, 1);
    for (std::size_t j = i; j < i + length; ++j) {
      if (escape) {
        append_escaped(out, byte_at(bytes, j));
      } else {
        out += bytes[j];
      }
    }
    i += length;
  }
  return out += '"';
}

std::size_t columns(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80;
  }));
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8U | (j < left ? std::uint32_t{byte_at(bytes, i + j)} : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += j <= left ? kBase64Alphabet[group >> (18U - 6U * j) & 63U] : '=';
    }
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::size_t padding = 0;
    if (i + 4 == text.size()) padding = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      std::size_t digit = 0;
      if (j < 4 - padding) digit = kBase64Alphabet.find(text[i + j]);
      if (digit == std::string_view::npos) return std::nullopt;
      group = group << 6U | static_cast<std::uint32_t>(digit);
    }
    // Bits that the padding drops must be zero, so that each text stands for other bytes.
    if ((group & ((std::uint32_t{1} << (8U * padding)) - 1U)) != 0) return std::nullopt;
    for (std::size_t j = 0; j < 3 - padding; ++j) {
      out += static_cast<char>(static_cast<unsigned char>(group >> (16U - 8U * j) & 0xFFU));
    }
  }
  return out;
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) noexcept {
  const auto total = total_ns(text);
  if (!total || *total > kDurationMaxNs) return std::nullopt;
  return std::chrono::nanoseconds{std::llround(*total)};
}

bool is_too_long(std::string_view text) noexcept {
  const auto total = total_ns(text);
  return total && *total > kDurationMaxNs;
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept {
  return daemon::parse_bytes(text);
}

std::optional<std::int64_t> parse_integer(std::string_view text) noexcept {
  return daemon::parse_integer(text);
}

std::optional<double> parse_double(std::string_view text) noexcept {
  return daemon::parse_double(text);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const std::int64_t ns = duration.count();
  if (ns < 0)
    return "-" + format_duration(std::chrono::nanoseconds{
                     -std::max(ns, -std::numeric_limits<std::int64_t>::max())});
  if (ns == 0) return "0s";
  if (ns < 1000) return fmt::format("{}ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.4g}us", static_cast<double>(ns) / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.4g}ms", static_cast<double>(ns) / 1e6);
  const std::int64_t s = ns / 1'000'000'000;
  if (s < 60) return fmt::format("{:.4g}s", std::min(static_cast<double>(ns) / 1e9, 59.99));
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double amount = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (amount < 1024) break;
    amount /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", amount, unit);
}

std::string format_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t left = digits.size(); left > 3;) {
    left -= 3;
    digits.insert(left, ",");
  }
  return digits;
}

std::string format_wall_ms(std::int64_t wall_ms) {
  std::int64_t milliseconds = wall_ms % 1000;
  if (milliseconds < 0) milliseconds += 1000;
  const std::time_t seconds = (wall_ms - milliseconds) / 1000;
  std::tm parts{};
  if (localtime_r(&seconds, &parts) == nullptr) return std::to_string(wall_ms);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return fmt::format("{}.{:03}", std::string_view{text.data(), length}, milliseconds);
}

std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = kSuggestionDistanceMax + 1;
  for (const auto& candidate : candidates) {
    const bool completes = word.size() >= 2 && candidate.starts_with(word);
    const std::size_t distance = completes ? 1 : edit_distance(word, candidate);
    // Half of a short word changed is another word.
    if (distance >= best_distance || distance * 2 > std::max(word.size(), candidate.size()))
      continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

}  // namespace cachee::cli
