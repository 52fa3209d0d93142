// Commands about deadlines. A deadline is changed in place; that makes no event.
#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

struct Conditions {
  bool nx = false, xx = false, gt = false, lt = false;
};

// The words behind the time; false after an error reply.
bool parse_conditions(Call& call, Conditions& conditions) {
  for (std::size_t i = 3; i < call.count(); ++i) {
    if (call.is(i, "NX")) {
      conditions.nx = true;
    } else if (call.is(i, "XX")) {
      conditions.xx = true;
    } else if (call.is(i, "GT")) {
      conditions.gt = true;
    } else if (call.is(i, "LT")) {
      conditions.lt = true;
    } else {
      call.reply.error(fmt::format("ERR Unsupported option {}", call[i].substr(0, 128)));
      return false;
    }
  }
  if (conditions.nx && (conditions.xx || conditions.gt || conditions.lt)) {
    call.reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (conditions.gt && conditions.lt) {
    call.reply.error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

ExpireCondition one_condition(const Conditions& conditions) {
  if (conditions.nx) return ExpireCondition::no_deadline;
  // A key without a deadline counts as one that never ends, so GT implies XX.
  if (conditions.gt) return ExpireCondition::greater;
  if (conditions.lt) return ExpireCondition::less;
  return conditions.xx ? ExpireCondition::has_deadline : ExpireCondition::always;
}

void expire(Call& call, const ExpiryRules& rules) {
  Conditions conditions;
  if (!parse_conditions(call, conditions)) return;
  const auto expiry = take_expiry(call, call[2], rules);
  if (!expiry || !check_key(call, call[1])) return;
  if (conditions.xx && conditions.lt) {
    // The one pair that is no single condition; LT alone would also accept a key without deadline.
    const auto ttl = call.cache.ttl(call[1]);
    if (ttl && !*ttl) return call.reply.integer(0);
  }
  const ExpireCondition condition = one_condition(conditions);
  const auto done = expiry->ttl
                        ? call.cache.touch(call[1], *expiry->ttl, condition)
                        : call.cache.touch_at(call[1], *expiry->deadline_wall_ms, condition);
  if (!done && done.code() != Errc::not_found) return reply_error(call.reply, done.error());
  call.reply.integer(done && *done ? 1 : 0);
}

void run_expire(Call& call) { expire(call, {1000, false, false, "expire"}); }
void run_pexpire(Call& call) { expire(call, {1, false, false, "pexpire"}); }
void run_expireat(Call& call) { expire(call, {1000, true, false, "expireat"}); }
void run_pexpireat(Call& call) { expire(call, {1, true, false, "pexpireat"}); }

void run_persist(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto done = call.cache.persist(call[1]);
  if (!done && done.code() != Errc::not_found) return reply_error(call.reply, done.error());
  call.reply.integer(done && *done ? 1 : 0);
}

// -2: no key, -1: no deadline, else what `shown` makes of what was asked.
template <class Asked, class Shown>
void reply_time(Call& call, Asked&& asked, Shown&& shown) {
  if (!check_key(call, call[1])) return;
  const auto time = asked(call.cache, call[1]);
  if (!time && time.code() != Errc::not_found) return reply_error(call.reply, time.error());
  if (!time) return call.reply.integer(-2);
  if (!*time) return call.reply.integer(-1);
  call.reply.integer(shown(**time));
}

std::int64_t rounded_seconds(std::int64_t ms) { return (ms + 500) / 1000; }
std::int64_t as_it_is(std::int64_t ms) { return ms; }
Result<std::optional<std::int64_t>> left_ms(const Cache& cache, KeyView key) {
  const auto ttl = cache.ttl(key);
  if (!ttl) return ttl.error();
  return *ttl ? std::optional{std::int64_t{(*ttl)->count()}} : std::nullopt;
}
Result<std::optional<std::int64_t>> moment_ms(const Cache& cache, KeyView key) { return cache.deadline_wall_ms(key); }

void run_ttl(Call& call) { reply_time(call, left_ms, rounded_seconds); }
void run_pttl(Call& call) { reply_time(call, left_ms, as_it_is); }
void run_expiretime(Call& call) { reply_time(call, moment_ms, rounded_seconds); }
void run_pexpiretime(Call& call) { reply_time(call, moment_ms, as_it_is); }

constexpr std::uint32_t kSets = kWrites | kFast;
constexpr std::uint32_t kShows = kReads | kFast;

constexpr Command kCommands[] = {
    {"expire", -3, kSets, 1, 1, 1, "generic", "key seconds [NX | XX | GT | LT]",
     "Sets a time to live in seconds.", run_expire},
    {"expireat", -3, kSets, 1, 1, 1, "generic", "key unix-seconds [NX | XX | GT | LT]",
     "Sets a deadline in Unix seconds.", run_expireat},
    {"expiretime", 2, kShows, 1, 1, 1, "generic", "key",
     "Returns the deadline in Unix seconds; -1: none, -2: no key.", run_expiretime},
    {"persist", 2, kSets, 1, 1, 1, "generic", "key", "Removes the deadline.", run_persist},
    {"pexpire", -3, kSets, 1, 1, 1, "generic", "key milliseconds [NX | XX | GT | LT]",
     "Sets a time to live in milliseconds.", run_pexpire},
    {"pexpireat", -3, kSets, 1, 1, 1, "generic", "key unix-milliseconds [NX | XX | GT | LT]",
     "Sets a deadline in Unix milliseconds.", run_pexpireat},
    {"pexpiretime", 2, kShows, 1, 1, 1, "generic", "key",
     "Returns the deadline in Unix milliseconds; -1: none, -2: no key.", run_pexpiretime},
    {"pttl", 2, kShows, 1, 1, 1, "generic", "key",
     "Returns the remaining milliseconds; -1: no deadline, -2: no key.", run_pttl},
    {"ttl", 2, kShows, 1, 1, 1, "generic", "key",
     "Returns the remaining seconds; -1: no deadline, -2: no key.", run_ttl},
};

}  // namespace

std::span<const Command> time_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
