// Words for people and for files: escaping of bytes, base64, durations, sizes. Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::cli {

[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;

/// UTF-8 without control characters except line feeds and tabs: harmless on a terminal.
[[nodiscard]] bool is_plain_text(std::string_view bytes) noexcept;

/// Bytes on one line of a terminal or table: as they are when that is unambiguous, otherwise in
/// double quotes with \n \r \t \a \b \\ \" and \xHH, as redis-cli prints them.
[[nodiscard]] std::string display(std::string_view bytes);
/// Always in double quotes.
[[nodiscard]] std::string quote(std::string_view bytes);
/// Number of terminal columns, counting one for each character of UTF-8.
[[nodiscard]] std::size_t columns(std::string_view text) noexcept;

[[nodiscard]] std::string base64_encode(std::string_view bytes);
/// nullopt unless the text is base64 with padding, and nothing else.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

/// The longest duration that is read: a century.
inline constexpr double kDurationDaysMax = 36525;
/// "30m", "1.5s", "1h30m", "250ms", and "90" for seconds. Units: us ms s m h d.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(
    std::string_view text) noexcept;
/// True for a duration that parse_duration() refuses for its length alone.
[[nodiscard]] bool is_too_long(std::string_view text) noexcept;

// The next three read what cacheed reads, in its settings and on its socket.

/// "64MiB", "64M", "100". Units: K M G KiB MiB GiB in any case, all powers of 1024.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept;
/// A decimal integer in its one spelling: no blanks, no +, no leading zeros.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text) noexcept;
/// A finite decimal number.
[[nodiscard]] std::optional<double> parse_double(std::string_view text) noexcept;

[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);
/// "1,234,567".
[[nodiscard]] std::string format_count(std::uint64_t count);
/// Local time, "2024-05-01 12:30:05.123".
[[nodiscard]] std::string format_wall_ms(std::int64_t wall_ms);

/// The candidate that somebody who typed `word` probably meant; none when nothing is near.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word,
                                                 const std::vector<std::string>& candidates);

}  // namespace cachee::cli
