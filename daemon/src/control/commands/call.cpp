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

bool check_value_bytes(Call& call, std::size_t bytes) {
  if (bytes <= call.value_bytes_max) return true;
  call.reply.error(fmt::format(
      "ERR string exceeds maximum allowed size ({}); cacheed's --max-value sets it, up to a quarter "
      "of the memory",
      format_bytes(call.value_bytes_max)));
  return false;
}

std::optional<std::int64_t> take_integer(Call& call, std::string_view word) {
  const auto number = parse_integer(word);
  if (!number) call.reply.error(kNotAnInteger);
  return number;
}

std::optional<Expiry> take_expiry(Call& call, std::string_view word, const ExpiryRules& rules) {
  const auto number = take_integer(call, word);
  if (!number) return std::nullopt;
  const std::int64_t now_ms = wall_ms_now();
  const std::int64_t limit = kInt64Max / rules.unit_ms;
  bool good = *number <= limit && *number >= -limit && (!rules.must_be_positive || *number > 0);
  const std::int64_t ms = good ? *number * rules.unit_ms : 0;
  if (!rules.absolute) good = good && ms <= kInt64Max - now_ms;
  if (!good) {
    call.reply.error(fmt::format("ERR invalid expire time in '{}' command", rules.command));
    return std::nullopt;
  }
  Expiry expiry;
  if (rules.absolute) {
    expiry.deadline_wall_ms = std::min(ms, now_ms + kTtlMsMax);
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
