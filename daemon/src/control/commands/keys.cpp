// Commands about keys as such: deleting, finding, counting, moving.
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <cachee/inspect.hpp>
#include <cachee/maintain.hpp>
#include <cachee/triggers.hpp>
#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr int kRacesMax = 100;                  // of RENAME with writers of the old name
constexpr std::size_t kScanCountDefault = 10;
constexpr std::chrono::milliseconds kScanPatience{2};
constexpr std::size_t kKeysStep = 4096;         // keys that KEYS asks for at once

void erase_all(Call& call, Arguments keys, Cause cause,
               std::optional<std::chrono::milliseconds> patience) {
  if (!check_keys(call, keys)) return;
  std::int64_t erased = 0;
  Hold hold;
  for (const std::string_view key : keys) {
    EraseOptions options;
    options.cause = cause;
    const auto done = call.cache.erase(key, options);
    if (done) {
      ++erased;
      if (done->event) hold.events.push_back(*done->event);
    } else if (done.code() != Errc::not_found) {
      if (erased == 0) return reply_error(call.reply, done.error());
      return call.reply.error(fmt::format("{} (this is about '{}'; {} keys before it are gone)",
                                          error_text(done.error()), key.substr(0, 64), erased));
    }
  }
  call.reply.integer(erased);
  if (!patience || hold.events.empty()) return;
  hold.patience = *patience;
  call.hold = std::move(hold);
}

void run_del(Call& call) {
  Arguments keys = call.from(1);
  std::optional<std::chrono::milliseconds> patience;
  // DEL k WAIT 100: only behind at least one key, and only when a number follows; so a key named
  // WAIT can be deleted, unless it is the last but one and the last is a number.
  if (keys.size() >= 3 && equal_ignoring_case(keys[keys.size() - 2], "WAIT") &&
      parse_integer(keys.back())) {
    patience = take_patience(call, keys.back());
    if (!patience) return;
    keys = keys.first(keys.size() - 2);
  }
  erase_all(call, keys, Cause::explicit_, patience);
}

void run_invalidate(Call& call) {
  erase_all(call, call.from(1), Cause::invalidate, std::nullopt);
}

void run_exists(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  std::int64_t count = 0;
  for (const std::string_view key : call.from(1)) {
    const auto there = call.cache.contains(key);
    if (!there) return reply_error(call.reply, there.error());
    if (*there) ++count;
  }
  call.reply.integer(count);
}

void run_touch(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  std::int64_t count = 0;
  for (const std::string_view key : call.from(1)) {
    // A read of no bytes: the key counts as used.
    const auto bytes = call.cache.get_into(key, {});
    if (bytes) ++count;
    if (!bytes && bytes.code() != Errc::not_found) return reply_error(call.reply, bytes.error());
  }
  call.reply.integer(count);
}

void run_type(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto there = call.cache.contains(call[1]);
  if (!there) return reply_error(call.reply, there.error());
  call.reply.simple(*there ? "string" : "none");
}

/// An entry; counted as a hit or a miss where Redis does so. To look is no use of the key.
Result<Entry> counted_entry(Call& call, std::string_view key) {
  if (const auto there = call.cache.contains(key); !there) return there.error();
  return call.cache.inspect(key);
}

/// What goes along with a value under its new name; a key that takes a parent's name no longer depends on it.
SetOptions options_of(const Entry& entry, std::string_view new_name) {
  SetOptions options;
  options.ttl = entry.ttl;
  options.deadline_wall_ms = entry.deadline_wall_ms;  // a moment stays one
  options.cost = entry.cost;
  options.metadata = entry.metadata;
  options.depends_on = entry.depends_on;
  std::erase(options.depends_on, new_name);
  return options;
}

// Writes the new name, then erases the old one if nobody has changed it meanwhile; else again.
void run_rename(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  for (int race = 0; race < kRacesMax; ++race) {
    const auto entry = call.cache.inspect(call[1]);
    if (!entry) return reply_error(call.reply, entry.error());
    if (call[1] == call[2]) return call.reply.simple("OK");
    const auto written = call.cache.set(call[2], entry->value, options_of(*entry, call[2]));
    if (!written) return reply_error(call.reply, written.error());
    EraseOptions options;
    options.if_version = entry->version;
    const auto erased = call.cache.erase(call[1], options);
    // Gone already: somebody deleted the old name after its value had moved.
    if (erased || erased.code() == Errc::not_found) return call.reply.simple("OK");
    if (erased.code() != Errc::stale) {
      return call.reply.error(error_text(erased.error()) +
                              " (the new name is written, the old one is still there)");
    }
  }
  call.reply.error("ERR the old name changes too fast; the new name holds one of its values");
}

void run_copy(Call& call) {
  bool replace = false;
  for (std::size_t i = 3; i < call.count(); ++i) {
    if (call.is(i, "REPLACE")) {
      replace = true;
    } else if (call.is(i, "DB") && i + 1 < call.count()) {
      if (!check_database(call, call[++i])) return;
    } else {
      return call.reply.error(kSyntaxError);
    }
  }
  if (call[1] == call[2]) {
    return call.reply.error("ERR source and destination objects are the same");
  }
  if (!check_key(call, call[1]) || !check_key(call, call[2])) return;
  const auto entry = counted_entry(call, call[1]);
  if (!entry) {
    if (entry.code() != Errc::not_found) return reply_error(call.reply, entry.error());
    return call.reply.integer(0);
  }
  SetOptions options = options_of(*entry, call[2]);
  if (!replace) options.condition = Condition::absent;
  const auto written = call.cache.set(call[2], entry->value, options);
  if (!written && written.code() != Errc::exists) return reply_error(call.reply, written.error());
  call.reply.integer(written ? 1 : 0);
}

void run_randomkey(Call& call) {
  const auto key = call.cache.random_key();
  if (key) return call.reply.bulk(*key);
  if (key.code() != Errc::not_found) return reply_error(call.reply, key.error());
  call.reply.null();
}

void run_keys(Call& call) {
  std::vector<std::string> found;
  std::uint64_t cursor = 0;
  do {
    const auto step = call.cache.scan(cursor, kKeysStep, [&](KeyView key) {
      if (glob_match(call[1], key)) found.emplace_back(key);
    });
    if (!step) return reply_error(call.reply, step.error());
    cursor = step->cursor;
  } while (cursor != 0);
  // A scan may show a key twice when it moves meanwhile.
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  call.reply.array(found.size());
  for (const std::string& key : found) call.reply.bulk(key);
}

// As Redis reads it, with strtoul: "", "+0" and "-1" are cursors.
std::optional<std::uint64_t> parse_cursor(std::string_view word) {
  const std::string text{word};
  if (std::isspace(static_cast<unsigned char>(text[0])) != 0) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const std::uint64_t cursor = std::strtoull(text.c_str(), &end, 10);
  if (end != text.c_str() + text.size() || errno == ERANGE) return std::nullopt;
  return cursor;
}

void run_scan(Call& call) {
  const auto begin = parse_cursor(call[1]);
  if (!begin) return call.reply.error("ERR invalid cursor");
  std::uint64_t cursor = *begin;
  std::size_t count = kScanCountDefault;
  std::string_view pattern = "*";
  bool strings = true;
  for (std::size_t i = 2; i < call.count(); i += 2) {
    if (i + 1 == call.count()) return call.reply.error(kSyntaxError);
    if (call.is(i, "COUNT")) {
      const auto number = take_integer(call, call[i + 1]);
      if (!number) return;
      if (*number < 1) return call.reply.error(kSyntaxError);
      count = static_cast<std::size_t>(*number);
    } else if (call.is(i, "MATCH")) {
      pattern = call[i + 1];
    } else if (call.is(i, "TYPE")) {
      strings = call.is(i + 1, "string");
    } else {
      return call.reply.error(kSyntaxError);
    }
  }
  std::vector<std::string> found;
  std::size_t seen = 0;
  // The cache returns early from a stretch of empty buckets; a client should not have to come back
  // for each of them.
  const auto deadline = std::chrono::steady_clock::now() + kScanPatience;
  do {
    const auto step = call.cache.scan(cursor, count - seen, [&](KeyView key) {
      ++seen;
      if (strings && (pattern == "*" || glob_match(pattern, key))) found.emplace_back(key);
    });
    if (!step) return reply_error(call.reply, step.error());
    cursor = step->cursor;
  } while (cursor != 0 && seen < count && std::chrono::steady_clock::now() < deadline);
  call.reply.array(2);
  call.reply.bulk(std::to_string(cursor));
  call.reply.array(found.size());
  for (const std::string& key : found) call.reply.bulk(key);
}

void run_dbsize(Call& call) {
  const auto size = call.cache.size();
  if (!size) return reply_error(call.reply, size.error());
  call.reply.integer(static_cast<std::int64_t>(*size));
}

void run_flush(Call& call) {
  const bool known = call.count() == 1 || (call.count() == 2 && (call.is(1, "SYNC") || call.is(1, "ASYNC")));
  if (!known) return call.reply.error(kSyntaxError);
  const auto erased = call.cache.clear(Cause::flush);
  if (!erased) return reply_error(call.reply, erased.error());
  call.reply.simple("OK");
}

// Answers nil for a missing key, or an error.
void reply_no_entry(Call& call, const Error& error) {
  if (error.code == Errc::not_found) return call.reply.null();
  reply_error(call.reply, error);
}

void run_object_idletime(Call& call) {
  if (!check_key(call, call[2])) return;
  const auto entry = counted_entry(call, call[2]);
  if (!entry) return reply_no_entry(call, entry.error());
  call.reply.integer(std::chrono::duration_cast<std::chrono::seconds>(entry->age).count());
}

void run_object_freq(Call& call) {
  if (!check_key(call, call[2])) return;
  if (const auto there = call.cache.contains(call[2]); !there) return reply_error(call.reply, there.error());
  const auto seen = call.cache.peek(call[2]);
  if (!seen) return reply_no_entry(call, seen.error());
  const auto segment = segment_info(call.cache);
  if (!segment) return reply_error(call.reply, segment.error());
  const auto policy = parse_eviction_policy(segment->eviction_policy);
  if (policy == EvictionPolicy::balanced || policy == EvictionPolicy::cost) return call.reply.integer(seen->hits);
  call.reply.error(
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
      "when switching between policies at runtime LRU and LFU data will take some time to adjust.");
}

void run_memory_usage(Call& call) {
  for (std::size_t i = 3; i < call.count(); i += 2) {
    if (!call.is(i, "SAMPLES") || i + 1 == call.count()) return call.reply.error(kSyntaxError);
    const auto samples = take_integer(call, call[i + 1]);
    if (!samples) return;
    if (*samples < 0) return call.reply.error(kSyntaxError);
  }
  if (!check_key(call, call[2])) return;
  const auto entry = call.cache.inspect(call[2]);
  if (!entry) return reply_no_entry(call, entry.error());
  call.reply.integer(static_cast<std::int64_t>(entry->bytes));
}

constexpr Command kCommands[] = {
    {"copy", -3, kWrites | kMayGrow, 1, 2, 1, "generic", "source destination [DB 0] [REPLACE]",
     "Copies a key with its deadline, cost, metadata and dependencies.", run_copy},
    {"dbsize", 1, kReads, 0, 0, 0, "server", "", "Returns the number of keys.", run_dbsize},
    {"del", -2, kWrites, 1, -1, 1, "generic", "key [key ...] [WAIT milliseconds]",
     "Deletes keys; WAIT returns when the triggers have acknowledged.", run_del},
    {"exists", -2, kReads | kFast, 1, -1, 1, "generic", "key [key ...]",
     "Counts how many of the keys exist.", run_exists},
    {"flushall", -1, kWrites, 0, 0, 0, "server", "[ASYNC | SYNC]",
     "Deletes every key, each with cause `flush`.", run_flush},
    {"flushdb", -1, kWrites, 0, 0, 0, "server", "[ASYNC | SYNC]",
     "Deletes every key, each with cause `flush`.", run_flush},
    {"invalidate", -2, kWrites, 1, -1, 1, "generic", "key [key ...]",
     "Deletes keys with cause `invalidate`.", run_invalidate},
    {"keys", 2, kReads, 0, 0, 0, "generic", "pattern", "Returns the keys that match a glob.",
     run_keys},
    {"memory", -2, kContainer, 0, 0, 0, "server", "", "Memory of the segment.", nullptr},
    {"memory|help", 2, 0, 0, 0, 0, "server", "", "Lists the subcommands.", run_help},
    {"memory|usage", -3, kReads, 2, 2, 1, "server", "key [SAMPLES count]",
     "Returns how many bytes of the segment a key takes.", run_memory_usage},
    {"object", -2, kContainer, 0, 0, 0, "generic", "", "What is known of a key's use.", nullptr},
    {"object|freq", 3, kReads, 2, 2, 1, "generic", "key",
     "Says how used a key is, 0 to 31, under an eviction policy that counts it: not the number of its reads, but in how "
     "many 64ths of a turnover of the cache it was read or written, halved as time goes by.",
     run_object_freq},
    {"object|help", 2, 0, 0, 0, 0, "generic", "", "Lists the subcommands.", run_help},
    {"object|idletime", 3, kReads, 2, 2, 1, "generic", "key",
     "Returns the seconds since a key was written: its longest possible idle time.",
     run_object_idletime},
    {"randomkey", 1, kReads, 0, 0, 0, "generic", "", "Returns some key.", run_randomkey},
    {"rename", 3, kWrites | kMayGrow, 1, 2, 1, "generic", "key newkey",
     "Gives a key another name, with its deadline, cost, metadata and dependencies; not atomic: "
     "both names may be seen for a moment.",
     run_rename},
    {"scan", -2, kReads, 0, 0, 0, "generic", "cursor [MATCH pattern] [COUNT count] [TYPE type]",
     "Returns the next cursor and some keys.", run_scan},
    {"touch", -2, kReads | kFast, 1, -1, 1, "generic", "key [key ...]",
     "Counts how many of the keys exist and marks them as used.", run_touch},
    {"type", 2, kReads | kFast, 1, 1, 1, "generic", "key", "Returns `string`, or `none`.", run_type},
    {"unlink", -2, kWrites | kFast, 1, -1, 1, "generic", "key [key ...] [WAIT milliseconds]",
     "The same as DEL.", run_del},
};

}  // namespace

std::span<const Command> key_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
