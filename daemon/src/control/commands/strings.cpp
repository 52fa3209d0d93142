// Commands that change or read a part of a value: numbers, ranges, appending.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kFloatTextBytesMax = 5 * 1024;  // as Redis: LDBL_MAX written out, and room

void add(Call& call, std::int64_t delta) {
  if (!check_key(call, call[1])) return;
  const auto sum = call.cache.increment(call[1], delta);
  if (!sum) return reply_error(call.reply, sum.error());
  call.reply.integer(*sum);
}

void run_incr(Call& call) { add(call, 1); }
void run_decr(Call& call) { add(call, -1); }

void run_incrby(Call& call) {
  if (const auto delta = take_integer(call, call[2])) add(call, *delta);
}

void run_decrby(Call& call) {
  const auto delta = take_integer(call, call[2]);
  if (!delta) return;
  if (*delta == std::numeric_limits<std::int64_t>::min()) {
    return call.reply.error("ERR decrement would overflow");
  }
  add(call, -*delta);
}

// As Redis' string2ld: all of the text, no leading blank, not a NaN.
std::optional<long double> parse_long_double(std::string_view text) {
  if (text.empty() || text.size() >= kFloatTextBytesMax) return std::nullopt;
  if (static_cast<unsigned char>(text[0]) <= ' ') return std::nullopt;
  const std::string copy{text};
  char* end = nullptr;
  errno = 0;
  const long double number = std::strtold(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || std::isnan(number)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(number) || std::fabs(number) == 0)) return std::nullopt;
  return number;
}

// 17 decimals at most, without trailing zeros: what a person would write.
std::string format_long_double(long double number) {
  char text[kFloatTextBytesMax];
  const auto written =
      std::to_chars(text, text + sizeof(text), number, std::chars_format::fixed, 17);
  if (written.ec != std::errc{}) return "0";
  std::string_view shown{text, static_cast<std::size_t>(written.ptr - text)};
  shown = shown.substr(0, shown.find_last_not_of('0') + 1);
  if (shown.ends_with('.')) shown.remove_suffix(1);
  return std::string{shown == "-0" ? "0" : shown};
}

void run_incrbyfloat(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto delta = parse_long_double(call[2]);
  if (!delta) return call.reply.error("ERR value is not a valid float");
  std::string_view refusal;
  std::string sum_text;
  const auto written = call.cache.update(
      call[1], [&](std::optional<ValueView> old) -> std::optional<std::string> {
        refusal = {};
        const auto number = old ? parse_long_double(*old) : 0.0L;
        if (!number) {
          refusal = "ERR value is not a valid float";
          return std::nullopt;
        }
        const long double sum = *number + *delta;
        if (!std::isfinite(sum)) {
          refusal = "ERR increment would produce NaN or Infinity";
          return std::nullopt;
        }
        sum_text = format_long_double(sum);
        return sum_text;
      });
  if (!refusal.empty()) return call.reply.error(refusal);
  if (!written) return reply_error(call.reply, written.error());
  call.reply.bulk(sum_text);
}

void run_append(Call& call) {
  if (!check_key(call, call[1])) return;
  std::size_t bytes = call[2].size();
  if (const auto here = call.cache.get_into(call[1], {})) bytes += *here;
  if (!check_value_bytes(call, bytes)) return;
  const auto length = call.cache.append(call[1], call[2]);
  if (!length) return reply_error(call.reply, length.error());
  call.reply.integer(static_cast<std::int64_t>(*length));
}

void run_strlen(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto bytes = call.cache.get_into(call[1], {});
  if (!bytes && bytes.code() != Errc::not_found) return reply_error(call.reply, bytes.error());
  call.reply.integer(bytes ? static_cast<std::int64_t>(*bytes) : 0);
}

void run_getrange(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto first = take_integer(call, call[2]);
  if (!first) return;
  const auto last = take_integer(call, call[3]);
  if (!last) return;
  const auto value = call.cache.view(call[1]);
  if (!value && value.code() != Errc::not_found) return reply_error(call.reply, value.error());
  if (!value || (*first < 0 && *last < 0 && *first > *last)) return call.reply.bulk("");
  const ValueView bytes = value->bytes();
  const auto size = static_cast<std::int64_t>(bytes.size());
  // From the end when negative; -n beyond the start is the start.
  const auto place = [size](std::int64_t index) {
    return index < 0 ? std::max<std::int64_t>(index + size, 0) : index;
  };
  const std::int64_t from = place(*first);
  const std::int64_t to = std::min(place(*last), size - 1);
  if (from > to || size == 0) return call.reply.bulk("");
  call.reply.bulk(bytes.substr(static_cast<std::size_t>(from),
                               static_cast<std::size_t>(to - from + 1)));
}

void run_setrange(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto offset = take_integer(call, call[2]);
  if (!offset) return;
  if (*offset < 0) return call.reply.error("ERR offset is out of range");
  const std::string_view part = call[3];
  const auto at = static_cast<std::size_t>(*offset);
  if (part.empty()) return run_strlen(call);
  if (!check_value_bytes(call, std::max(at, at + part.size()))) return;
  std::size_t length = 0;
  const auto written =
      call.cache.update(call[1], [&](std::optional<ValueView> old) -> std::optional<std::string> {
        std::string value{old.value_or(ValueView{})};
        value.resize(std::max(value.size(), at + part.size()), '\0');
        std::copy(part.begin(), part.end(), value.begin() + static_cast<std::ptrdiff_t>(at));
        length = value.size();
        return value;
      });
  if (!written) return reply_error(call.reply, written.error());
  call.reply.integer(static_cast<std::int64_t>(length));
}

constexpr Command kCommands[] = {
    {"append", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key value",
     "Appends to a value, or creates it; returns the new length.", run_append},
    {"decr", 2, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key",
     "Decrements an integer by one.", run_decr},
    {"decrby", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key decrement",
     "Decrements an integer.", run_decrby},
    {"getrange", 4, kReads, 1, 1, 1, "string", "key start end",
     "Returns a part of a value; negative places count from the end.", run_getrange},
    {"incr", 2, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key",
     "Increments an integer by one.", run_incr},
    {"incrby", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key increment",
     "Increments an integer.", run_incrby},
    {"incrbyfloat", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key increment",
     "Increments a number that may have a fraction.", run_incrbyfloat},
    {"setrange", 4, kWrites | kMayGrow, 1, 1, 1, "string", "key offset value",
     "Overwrites a part of a value, filling a gap with zero bytes.", run_setrange},
    {"strlen", 2, kReads | kFast, 1, 1, 1, "string", "key", "Returns the length of a value.",
     run_strlen},
};

}  // namespace

std::span<const Command> string_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
