// GET, SET and their relatives: a whole value goes in or comes out.
#include <algorithm>
#include <chrono>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

// How often SET ... GET tries again when the value that was in its way is gone when it looks.
constexpr int kRacesMax = 100;

struct SetWords {
  SetOptions options{};
  bool get = false;
  std::optional<std::chrono::milliseconds> patience{};
};

// The time option of SET and GETEX. Its value is looked at when the whole command has been read: a word that does not
// belong there is a syntax error before a bad number is one.
class TimeOption {
 public:
  /// None: not a time option. False: its value is missing, or another way of saying when was there before; the same
  /// word may come again, and the last one counts.
  std::optional<bool> read(Call& call, std::size_t& at) {
    for (const Row& row : kRows) {
      if (!call.is(at, row.word)) continue;
      if ((row_ != nullptr && row_ != &row) || at + 1 == call.count()) return false;
      row_ = &row;
      value_ = call[++at];
      return true;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool given() const { return row_ != nullptr; }
  /// Of the one that was read. None after an error reply.
  [[nodiscard]] std::optional<Expiry> take(Call& call, std::string_view command) const {
    return take_expiry(call, value_, {row_->unit_ms, row_->absolute, true, command});
  }

 private:
  struct Row {
    std::string_view word;
    std::int64_t unit_ms;
    bool absolute;
  };
  static constexpr Row kRows[] = {
      {"EX", 1000, false}, {"PX", 1, false}, {"EXAT", 1000, true}, {"PXAT", 1, true}};

  const Row* row_ = nullptr;
  std::string_view value_{};
};

// Reads the options of SET; false after an error reply.
class SetParser {
 public:
  SetParser(Call& call, SetWords& words) : call_{call}, words_{words} {}

  bool parse() {
    for (at_ = 3; at_ < call_.count(); ++at_) {
      if (!parse_option()) return false;
    }
    if (!time_.given()) return true;
    const auto expiry = time_.take(call_, "set");
    if (!expiry) return false;
    words_.options.ttl = expiry->ttl;
    words_.options.deadline_wall_ms = expiry->deadline_wall_ms;
    return true;
  }

 private:
  bool syntax_error() {
    call_.reply.error(kSyntaxError);
    return false;
  }
  /// The words behind an option; false when they are missing.
  bool has(std::size_t words) const { return at_ + words < call_.count(); }

  bool parse_option() {
    SetOptions& options = words_.options;
    if (call_.is(at_, "NX") || call_.is(at_, "XX")) {
      const Condition wanted = call_.is(at_, "NX") ? Condition::absent : Condition::present;
      if (options.condition != Condition::always && options.condition != wanted) {
        return syntax_error();
      }
      if (options.if_version) return syntax_error();
      options.condition = wanted;
      return true;
    }
    if (call_.is(at_, "GET")) {
      words_.get = options.return_old = true;
      return true;
    }
    if (call_.is(at_, "KEEPTTL")) {
      if (time_.given()) return syntax_error();
      return options.keep_ttl = true;
    }
    if (const auto read = time_.read(call_, at_)) {
      return (*read && !options.keep_ttl) || syntax_error();
    }
    return parse_own_option();
  }

  bool parse_own_option() {
    SetOptions& options = words_.options;
    if (call_.is(at_, "COST") && has(1)) {
      const auto cost = parse_double(call_[++at_]);
      if (!cost || *cost <= 0) {
        call_.reply.error(
            fmt::format("ERR bad cost '{}': expected a positive number", call_[at_].substr(0, 64)));
        return false;
      }
      options.cost = *cost;
      return true;
    }
    if (call_.is(at_, "META") && has(2)) {
      if (options.metadata.size() == kMetadataFieldsMax) {
        call_.reply.error(fmt::format("ERR more than {} META fields", kMetadataFieldsMax));
        return false;
      }
      return add_metadata(call_[at_ + 1], call_[at_ + 2]);
    }
    if (call_.is(at_, "DEPENDS_ON") && has(1)) {
      if (options.depends_on.size() == kDependenciesMax) {
        call_.reply.error(fmt::format("ERR more than {} dependencies", kDependenciesMax));
        return false;
      }
      options.depends_on.emplace_back(call_[++at_]);
      return true;
    }
    if (call_.is(at_, "IFVER") && has(1)) {
      if (options.condition != Condition::always) return syntax_error();
      const auto version = take_integer(call_, call_[++at_]);
      if (!version) return false;
      options.if_version = static_cast<std::uint64_t>(std::max<std::int64_t>(*version, 0));
      return true;
    }
    if (call_.is(at_, "WAIT") && has(1)) {
      words_.patience = take_patience(call_, call_[++at_]);
      return words_.patience.has_value();
    }
    return syntax_error();
  }

  bool add_metadata(std::string_view field, std::string_view value) {
    at_ += 2;
    Metadata& metadata = words_.options.metadata;
    const auto known = std::find_if(metadata.begin(), metadata.end(),
                                    [field](const auto& pair) { return pair.first == field; });
    if (known != metadata.end()) {
      known->second = std::string{value};
    } else {
      metadata.emplace_back(field, value);
    }
    return true;
  }

  Call& call_;
  SetWords& words_;
  std::size_t at_ = 0;
  TimeOption time_{};
};

// False after an error reply: more metadata and dependencies than a key may have.
bool check_extras(Call& call, const SetOptions& options) {
  std::size_t bytes = 0;  // with the lengths that are stored beside them
  for (const auto& [field, value] : options.metadata) bytes += 8 + field.size() + value.size();
  for (const std::string& parent : options.depends_on) {
    if (!check_key(call, parent)) return false;
    bytes += 4 + parent.size();
  }
  if (bytes <= kMetadataBytesMax) return true;
  call.reply.error(fmt::format("ERR metadata and dependencies are {} bytes long; at most {} are allowed for one key",
                               bytes, kMetadataBytesMax));
  return false;
}

// Whether an Error only says that a condition of SET did not hold.
bool is_unmet(const Error& error, const SetOptions& options) {
  if (error.code == Errc::exists) return options.condition == Condition::absent;
  if (error.code == Errc::stale) return options.if_version.has_value();
  if (error.code == Errc::not_found) {
    return options.condition == Condition::present || options.if_version.has_value();
  }
  return false;
}

void reply_value_or_null(Call& call, std::string_view key) {
  const auto value = call.cache.view(key);
  if (value) {
    call.reply.bulk(value->bytes());
  } else if (value.code() == Errc::not_found) {
    call.reply.null();
  } else {
    reply_error(call.reply, value.error());
  }
}

void reply_old_value(Call& call, const std::optional<std::string>& value) {
  if (value) {
    call.reply.bulk(*value);
  } else {
    call.reply.null();
  }
}

void run_set(Call& call) {
  SetWords words;
  if (!SetParser{call, words}.parse()) return;
  if (!check_key(call, call[1]) || !check_value_bytes(call, call[2].size())) return;
  if (!check_extras(call, words.options)) return;
  if (!check_dependencies(call, call[1], words.options.depends_on)) return;
  for (int race = 0; race < kRacesMax; ++race) {
    const auto written = call.cache.set(call[1], call[2], words.options);
    if (written) {
      if (words.get) {
        reply_old_value(call, written->old_value);
      } else {
        call.reply.simple("OK");
      }
      if (written->event && words.patience) {
        call.hold = Hold{{*written->event}, *words.patience, false};
      }
      return;
    }
    if (!is_unmet(written.error(), words.options)) {
      return reply_error(call.reply, written.error());
    }
    if (!words.get || written.code() == Errc::not_found) return call.reply.null();
    // With GET the value that was in the way is the answer. nil would say that there was none and
    // the key was set, so a value that has gone by now means that SET may succeed after all.
    const auto value = call.cache.view(call[1]);
    if (value) return call.reply.bulk(value->bytes());
    if (value.code() != Errc::not_found) return reply_error(call.reply, value.error());
  }
  call.reply.error("ERR the key changes too fast; nothing was applied, try again");
}

void run_setnx(Call& call) {
  if (!check_key(call, call[1]) || !check_value_bytes(call, call[2].size())) return;
  const auto written = call.cache.add(call[1], call[2]);
  if (!written && written.code() != Errc::exists) return reply_error(call.reply, written.error());
  call.reply.integer(written ? 1 : 0);
}

void set_for(Call& call, const ExpiryRules& rules) {
  const auto expiry = take_expiry(call, call[2], rules);
  if (!expiry) return;
  if (!check_key(call, call[1]) || !check_value_bytes(call, call[3].size())) return;
  SetOptions options;
  options.ttl = expiry->ttl;
  const auto written = call.cache.set(call[1], call[3], options);
  if (!written) return reply_error(call.reply, written.error());
  call.reply.simple("OK");
}

void run_setex(Call& call) { set_for(call, {1000, false, true, "setex"}); }
void run_psetex(Call& call) { set_for(call, {1, false, true, "psetex"}); }

void run_getset(Call& call) {
  if (!check_key(call, call[1]) || !check_value_bytes(call, call[2].size())) return;
  SetOptions options;
  options.return_old = true;
  const auto written = call.cache.set(call[1], call[2], options);
  if (!written) return reply_error(call.reply, written.error());
  reply_old_value(call, written->old_value);
}

void run_get(Call& call) {
  if (check_key(call, call[1])) reply_value_or_null(call, call[1]);
}

void run_getver(Call& call) {
  if (!check_key(call, call[1])) return;
  const auto value = call.cache.view(call[1]);
  if (!value && value.code() != Errc::not_found) return reply_error(call.reply, value.error());
  if (!value) return call.reply.null_array();
  call.reply.array(2);
  call.reply.bulk(value->bytes());
  call.reply.integer(static_cast<std::int64_t>(value->version()));
}

void run_mget(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  const std::size_t mark = call.reply.mark();
  call.reply.array(call.count() - 1);
  const auto done = call.cache.get_many(
      call.from(1), [&call](std::size_t, std::optional<ValueView> value) {
        if (value) {
          call.reply.bulk(*value);
        } else {
          call.reply.null();
        }
      });
  if (done) return;
  call.reply.rewind(mark);
  reply_error(call.reply, done.error());
}

void run_getdel(Call& call) {
  if (!check_key(call, call[1])) return;
  EraseOptions options;
  options.return_old = true;
  const auto erased = call.cache.erase(call[1], options);
  if (erased && erased->old_value) return call.reply.bulk(*erased->old_value);
  if (!erased && erased.code() != Errc::not_found) return reply_error(call.reply, erased.error());
  call.reply.null();
}

// The time option of GETEX, or PERSIST; false after an error reply.
bool parse_getex(Call& call, TimeOption& time, bool& persist) {
  for (std::size_t at = 2; at < call.count(); ++at) {
    const auto read = time.read(call, at);
    if (!read && call.is(at, "PERSIST")) {
      persist = true;
    } else if (!read.value_or(false)) {
      call.reply.error(kSyntaxError);
      return false;
    }
    if (persist && time.given()) {
      call.reply.error(kSyntaxError);
      return false;
    }
  }
  return true;
}

void run_getex(Call& call) {
  TimeOption time;
  bool persist = false;
  if (!check_key(call, call[1]) || !parse_getex(call, time, persist)) return;
  std::optional<Expiry> expiry;
  const std::size_t mark = call.reply.mark();
  {
    const auto value = call.cache.view(call[1]);
    if (!value && value.code() != Errc::not_found) return reply_error(call.reply, value.error());
    if (!value) return call.reply.null();
    // As Redis: the time is looked at once there is a key to give it to.
    if (time.given()) {
      expiry = time.take(call, "getex");
      if (!expiry) return;
    }
    call.reply.bulk(value->bytes());
  }
  Result<bool> changed{true};
  if (persist) changed = call.cache.persist(call[1]);
  if (expiry && expiry->ttl) changed = call.cache.touch(call[1], *expiry->ttl);
  if (expiry && expiry->deadline_wall_ms) {
    changed = call.cache.touch_at(call[1], *expiry->deadline_wall_ms);
  }
  // A key that went in between was there when it was read: the value stands.
  if (changed || changed.code() == Errc::not_found) return;
  call.reply.rewind(mark);
  reply_error(call.reply, changed.error());
}

bool check_pairs(Call& call) {
  if (call.count() % 2 == 0) {
    reply_arity_error(call.reply, to_lower(call[0]));
    return false;
  }
  for (std::size_t i = 1; i < call.count(); i += 2) {
    if (!check_key(call, call[i]) || !check_value_bytes(call, call[i + 1].size())) return false;
  }
  return true;
}

void run_mset(Call& call) {
  if (!check_pairs(call)) return;
  for (std::size_t i = 1; i < call.count(); i += 2) {
    const auto written = call.cache.set(call[i], call[i + 1]);
    if (written) continue;
    // Keys are written one by one: what came before the refused one stands, and is said.
    if (i == 1) return reply_error(call.reply, written.error());
    return call.reply.error(fmt::format("{} (this is about '{}'; the {} pairs before it were set)",
                                        error_text(written.error()), call[i].substr(0, 64),
                                        (i - 1) / 2));
  }
  call.reply.simple("OK");
}

// All or nothing as far as one client can make it: keys are added one by one; when one turns out
// to exist, those that were added are taken back, unless somebody has changed them since.
void run_msetnx(Call& call) {
  if (!check_pairs(call)) return;
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = call.count(); i > 1; i -= 2) {
    // Of a key that is given twice the later value counts.
    if (seen.insert(call[i - 2]).second) pairs.emplace_back(call[i - 2], call[i - 1]);
  }
  for (const auto& [key, value] : pairs) {
    const auto there = call.cache.contains(key);
    if (!there) return reply_error(call.reply, there.error());
    if (*there) return call.reply.integer(0);
  }
  std::vector<std::pair<std::string_view, std::uint64_t>> added;
  for (const auto& [key, value] : pairs) {
    const auto written = call.cache.add(key, value);
    if (written) {
      added.emplace_back(key, written->version);
      continue;
    }
    for (const auto& [made, version] : added) {
      EraseOptions options;
      options.if_version = version;
      // Stale or gone: it is somebody else's key by now.
      (void)call.cache.erase(made, options);
    }
    if (written.code() == Errc::exists) return call.reply.integer(0);
    return reply_error(call.reply, written.error());
  }
  call.reply.integer(1);
}

constexpr Command kCommands[] = {
    {"get", 2, kReads | kFast, 1, 1, 1, "string", "key", "Returns the value of a key.", run_get},
    {"getdel", 2, kWrites | kFast, 1, 1, 1, "string", "key",
     "Returns the value of a key and deletes the key.", run_getdel},
    {"getex", -2, kWrites | kFast, 1, 1, 1, "string",
     "key [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | PERSIST]",
     "Returns the value of a key and sets or removes its deadline.", run_getex},
    {"getset", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key value",
     "Sets a key and returns the value it had.", run_getset},
    {"getver", 2, kReads | kFast, 1, 1, 1, "string", "key",
     "Returns the value of a key and its version, for SET ... IFVER.", run_getver},
    {"mget", -2, kReads | kFast, 1, -1, 1, "string", "key [key ...]",
     "Returns the values of several keys.", run_mget},
    {"mset", -3, kWrites | kMayGrow, 1, -1, 2, "string", "key value [key value ...]",
     "Sets several keys, one after the other; not atomic across keys.", run_mset},
    {"msetnx", -3, kWrites | kMayGrow, 1, -1, 2, "string", "key value [key value ...]",
     "Sets several keys when none of them exists; takes back what it added when one appears "
     "meanwhile.",
     run_msetnx},
    {"psetex", 4, kWrites | kMayGrow, 1, 1, 1, "string", "key milliseconds value",
     "Sets a key with a time to live in milliseconds.", run_psetex},
    {"set", -3, kWrites | kMayGrow, 1, 1, 1, "string",
     "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT "
     "unix-milliseconds | KEEPTTL] [IFVER version] [COST n] [META field value]... [DEPENDS_ON "
     "key]... [WAIT milliseconds]",
     "Sets a key, with conditions, deadline, cost, metadata and dependencies.", run_set},
    {"setex", 4, kWrites | kMayGrow, 1, 1, 1, "string", "key seconds value",
     "Sets a key with a time to live in seconds.", run_setex},
    {"setnx", 3, kWrites | kFast | kMayGrow, 1, 1, 1, "string", "key value",
     "Sets a key when it does not exist.", run_setnx},
};

}  // namespace

std::span<const Command> set_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
