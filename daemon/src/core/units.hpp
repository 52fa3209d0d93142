// Sizes, durations and numbers as people write them, and which known word a misspelt one is near.
// Pure functions; every part reads these the same way.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cachee::daemon {

/// "256MiB", "64M", "4096". Units: KiB MiB GiB (also K M G), powers of 1024, any case.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept;
/// The largest unit that divides: "256MiB", "1536KiB", "1000".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

/// "250ms", "1.5s", "1h30m", "0s". Units: us ms s m h d. A number without a unit is taken in
/// `bare_unit`, and refused when that is zero. Not negative, at most 292 years.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(
    std::string_view text, std::chrono::nanoseconds bare_unit = {}) noexcept;
/// The largest unit that divides: "30s", "90s", "1500us"; never two units.
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

/// A decimal integer in its one canonical spelling, as Redis reads it: no blanks, no '+', no
/// leading zeros.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text) noexcept;

/// A finite decimal number, all of the text.
[[nodiscard]] std::optional<double> parse_double(std::string_view text) noexcept;

/// ASCII only, so that no locale changes what a word means.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_upper(std::string_view text);

/// The candidate that somebody who wrote `word` probably meant; none when nothing is near.
[[nodiscard]] std::optional<std::string_view> nearest_word(
    std::string_view word, std::span<const std::string_view> candidates);

}  // namespace cachee::daemon
