#include "control/commands/call.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/units.hpp"

namespace cachee::daemon {
namespace {

// Deadlines are nanoseconds in 63 bits; further away than this is "for ever" for a cache.
constexpr std::int64_t kTtlMsMax = std::int64_t{100} * 365 * 86'400'000;
constexpr std::int64_t kPatienceMsMax = 3'600'000;
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kInt64Min = std::numeric_limits<std::int64_t>::min();

}  // namespace

bool Call::is(std::size_t index, std::string_view word) const {
  return index < arguments.size() && equal_ignoring_case(arguments[index], word);
}

std::string error_text(const Error& error) {
  switch (error.code) {
    case Errc::full:
      return "BACKPRESSURE the event ring is full and a trigger wants this event; nothing was "
             "applied. Retry later; TRIGGER STATS shows which handler is behind";
    case Errc::no_space:
      return "OOM the segment has no room for this and nothing may be evicted; nothing was "
             "applied. Delete keys, or start cacheed with a larger --memory or an eviction policy";
    case Errc::not_a_number: return std::string{kNotAnInteger};
    case Errc::overflow: return "ERR increment or decrement would overflow";
    case Errc::not_found: return std::string{kNoSuchKey};
    case Errc::invalid_argument:
      // What the commands check themselves is named there; the rest grows in place (APPEND, a dependency more).
      return fmt::format("ERR {}: a limit is exceeded. Keys have at most {} bytes, values as many as --max-value "
                         "says, metadata and dependencies of one key {} and {} of them, {} bytes in all",
                         to_string(error), kKeyBytesMax, kMetadataFieldsMax, kDependenciesMax, kMetadataBytesMax);
    default: return "ERR " + to_string(error);
  }
}

void reply_error(resp::ReplyWriter& reply, const Error& error) { reply.error(error_text(error)); }

void reply_failure(resp::ReplyWriter& reply, const Failure& failure) {
  reply.error("ERR " + failure.text);
}

void reply_arity_error(resp::ReplyWriter& reply, std::string_view command) {
  reply.error(fmt::format("ERR wrong number of arguments for '{}' command", command));
}

bool check_key(Call& call, std::string_view key) {
  if (key.size() <= kKeyBytesMax) return true;
  call.reply.error(
      fmt::format("ERR key is {} bytes long; at most {} are allowed", key.size(), kKeyBytesMax));
  return false;
}

bool check_keys(Call& call, Arguments keys) {
  return std::all_of(keys.begin(), keys.end(),
                     [&call](std::string_view key) { return check_key(call, key); });
}

std::string value_too_large_text(std::uint64_t value_bytes_max) {
  return fmt::format(
      "ERR string exceeds maximum allowed size ({}); cacheed's --max-value sets it, up to a quarter "
      "of the memory",
      format_bytes(value_bytes_max));
}

bool check_value_bytes(Call& call, std::size_t bytes) {
  if (bytes <= call.value_bytes_max) return true;
  call.reply.error(value_too_large_text(call.value_bytes_max));
  return false;
}

std::optional<std::int64_t> take_integer(Call& call, std::string_view word) {
  const auto number = parse_integer(word);
  if (!number) call.reply.error(kNotAnInteger);
  return number;
}

bool check_database(Call& call, std::string_view word) {
  using Limits = std::numeric_limits<std::int32_t>;
  const auto number = take_integer(call, word);
  if (!number) return false;
  if (*number < Limits::min() || *number > Limits::max()) {
    call.reply.error(fmt::format("ERR value is out of range, value must between {} and {}", Limits::min(), Limits::max()));
  } else if (*number != 0) {
    call.reply.error("ERR DB index is out of range");
  }
  return *number == 0;
}

std::optional<Expiry> take_expiry(Call& call, std::string_view word, const ExpiryRules& rules) {
  const auto number = take_integer(call, word);
  if (!number) return std::nullopt;
  const std::int64_t now_ms = wall_ms_now();
  bool good = *number <= kInt64Max / rules.unit_ms && *number >= kInt64Min / rules.unit_ms && (!rules.must_be_positive || *number > 0);
  const std::int64_t ms = good ? *number * rules.unit_ms : 0;
  if (!rules.absolute) good = good && ms <= kInt64Max - now_ms;
  if (!good) {
    call.reply.error(fmt::format("ERR invalid expire time in '{}' command", rules.command));
    return std::nullopt;
  }
  Expiry expiry;
  if (rules.absolute) {
    expiry.deadline_wall_ms = std::clamp<std::int64_t>(ms, 0, now_ms + kTtlMsMax);
  } else {
    expiry.ttl = std::chrono::milliseconds{std::clamp(ms, -kTtlMsMax, kTtlMsMax)};
  }
  return expiry;
}

std::optional<std::chrono::milliseconds> take_patience(Call& call, std::string_view word) {
  const auto ms = parse_integer(word);
  if (!ms || *ms < 1 || *ms > kPatienceMsMax) {
    call.reply.error(fmt::format("ERR WAIT expects milliseconds from 1 to {}", kPatienceMsMax));
    return std::nullopt;
  }
  return std::chrono::milliseconds{*ms};
}

void run_help(Call& call) {
  std::string prefix;
  for (std::size_t i = 0; i + 1 < call.count(); ++i) prefix += to_lower(call[i]) + '|';
  std::vector<std::string> lines;
  std::string path = to_upper(prefix.substr(0, prefix.size() - 1));
  std::replace(path.begin(), path.end(), '|', ' ');
  lines.push_back(path + " <subcommand> [<arg> ...]. Subcommands are:");
  for (const Command& command : all_commands()) {
    if (!command.name.starts_with(prefix) || command.run == nullptr) continue;
    std::string words = to_upper(command.name.substr(prefix.size()));
    std::replace(words.begin(), words.end(), '|', ' ');
    if (!command.syntax.empty()) words += fmt::format(" {}", command.syntax);
    lines.push_back(std::move(words));
    lines.push_back(fmt::format("    {}", command.summary));
  }
  call.reply.array(lines.size());
  for (const std::string& line : lines) call.reply.simple(line);
}

std::int64_t wall_ms_now() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace cachee::daemon
