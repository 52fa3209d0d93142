// The `cachee` table: reads go to the cache as the run's own writes have left it, everything else
// is buffered as effects until the handler has succeeded.
//
// Durations are seconds (a number) or text with a unit ("250ms", "1h").
#include <time.h>

#include <algorithm>
#include <cmath>

#include "core/units.hpp"
#include "script/cache_reader.hpp"
#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr double kDurationSecondsMax = 9.2e9;  // 292 years, as units.hpp
constexpr std::uint64_t kEffectSteps = 16;     // what an effect costs besides its bytes
constexpr double kOnceSecondsDefault = 86400;
constexpr lua_Integer kManyKeysMax = 10'000;

[[noreturn]] void out_of_memory(lua_State* lua) { state_of(lua).meter.raise(Limit::memory); }

/// Runs what may throw; the run ends when memory is out.
template <class Body>
void must(lua_State* lua, Body&& body) {
  if (!guarded(body)) out_of_memory(lua);
}

/// Fills a field of the effect that is being made.
void put(lua_State* lua, std::string& out, std::string_view text) {
  state_of(lua).effect_held.add(text.size());
  must(lua, [&] { out.assign(text); });
}

std::string_view check_text(lua_State* lua, int index) {
  std::size_t bytes = 0;
  const char* const text = luaL_checklstring(lua, index, &bytes);
  return {text, bytes};
}

std::string_view check_key(lua_State* lua, int index) {
  const std::string_view key = check_text(lua, index);
  if (key.size() > kKeyBytesMax) {
    luaL_argerror(lua, index, "a key has at most 65536 bytes");
  }
  return key;
}

/// A new effect of that kind, with everything else at its default.
Effect& begin_effect(lua_State* lua, EffectKind kind) {
  forget_effect(state_of(lua));
  state_of(lua).effect.kind = kind;
  return state_of(lua).effect;
}

/// Adds the effect that was made; returns where among the encoded ones it begins.
std::size_t commit_effect(lua_State* lua) {
  State& state = state_of(lua);
  if (state.effects_count == kEffectsMax) {
    luaL_error(lua, "more than %d effects in one run", static_cast<int>(kEffectsMax));
  }
  const std::size_t bytes = encoded_bytes(state.effect);
  if (state.effects.mark() + bytes > kEffectsBytesMax) {
    luaL_error(lua, "effects of one run take more than %d MiB",
               static_cast<int>(kEffectsBytesMax >> 20));
  }
  if (state.effects.mark() == 0) state.effects.append(kEffectsVersion);
  const std::size_t at = state.effects.mark();
  encode_effect(state.effects.reserve(bytes), state.effect);
  state.effects.commit(bytes);
  ++state.effects_count;
  charge(lua, kEffectSteps + copy_steps(bytes));
  return at;
}

/// Changes what this run sees of a key: `change` may throw.
template <class Change>
void write_overlay(lua_State* lua, KeyView key, Change&& change) {
  State& state = state_of(lua);
  const std::size_t before = state.overlay.size();
  must(lua, [&] { change(state.overlay.write(key)); });
  // Counted when it is there: whether the key has an entry is known then, and it is a key's bytes at most.
  if (state.overlay.size() > before) state.overlay_held.add(Overlay::entry_bytes(key.size()));
}

// Durations and options

/// Milliseconds of the value at the index, rounded up; false when it is no duration.
bool read_duration(lua_State* lua, int index, std::int64_t& out) noexcept {
  if (lua_type(lua, index) == LUA_TNUMBER) {
    const double seconds = lua_tonumber(lua, index);
    if (!(std::abs(seconds) <= kDurationSecondsMax)) return false;
    out = static_cast<std::int64_t>(std::ceil(seconds * 1000));
    return true;
  }
  if (lua_type(lua, index) != LUA_TSTRING) return false;
  const auto duration = parse_duration(view_at(lua, index), std::chrono::seconds{1});
  if (!duration) return false;
  out = (duration->count() + 999'999) / 1'000'000;
  return true;
}

[[noreturn]] void bad_option(lua_State* lua, const char* name, const char* expected) {
  luaL_error(lua, "bad option '%s' (%s expected)", name, expected);
  __builtin_unreachable();
}

std::int64_t option_duration(lua_State* lua, int index, const char* name) {
  std::int64_t milliseconds = 0;
  if (!read_duration(lua, index, milliseconds) || milliseconds <= 0) {
    bad_option(lua, name, "seconds above zero, or a duration such as '250ms'");
  }
  return milliseconds;
}

bool option_flag(lua_State* lua, int index, const char* name) {
  if (lua_isboolean(lua, index) == 0) bad_option(lua, name, "true or false");
  return lua_toboolean(lua, index) != 0;
}

std::string_view option_text(lua_State* lua, int index, const char* name) {
  if (lua_type(lua, index) != LUA_TSTRING) bad_option(lua, name, "a string");
  return view_at(lua, index);
}

struct PairBounds {
  std::size_t count_max;
  std::size_t bytes_max;  // of all of them
  const char* expected;
};
constexpr PairBounds kMetadataBounds{kMetadataFieldsMax, kMetadataBytesMax, "a table with 64 fields or fewer, of 65536 bytes in all"};
constexpr PairBounds kHeaderBounds{kEffectHeadersMax, kEffectHeaderBytesMax, "a table with 64 headers or fewer, of 65536 bytes in all"};
static_assert(kMetadataFieldsMax == 64 && kMetadataBytesMax == 65536 && kEffectHeadersMax == 64 && kEffectHeaderBytesMax == 65536);

/// Reads a table of strings, sorted by name: the same handler makes the same effect every time.
void option_pairs(lua_State* lua, int index, const char* name, const PairBounds& bounds,
                  std::vector<std::pair<std::string, std::string>>& out) {
  index = lua_absindex(lua, index);
  if (lua_type(lua, index) != LUA_TTABLE) bad_option(lua, name, "a table of strings");
  luaL_checkstack(lua, 4, name);
  std::size_t bytes = 0;
  for (lua_pushnil(lua); lua_next(lua, index) != 0; lua_pop(lua, 1)) {
    charge(lua, 4);
    if (lua_type(lua, -2) != LUA_TSTRING || lua_isstring(lua, -1) == 0) {
      bad_option(lua, name, "a table of strings");
    }
    const std::string_view field = view_at(lua, -2);
    const std::string_view value = view_at(lua, -1);
    bytes += field.size() + value.size();
    if (out.size() == bounds.count_max || bytes > bounds.bytes_max) bad_option(lua, name, bounds.expected);
    charge(lua, copy_steps(field.size() + value.size()));
    state_of(lua).effect_held.add(sizeof(out.front()) + field.size() + value.size());
    must(lua, [&] { out.emplace_back(field, value); });
  }
  std::sort(out.begin(), out.end());
}

void option_headers(lua_State* lua, int index, Effect& effect) {
  option_pairs(lua, index, "headers", kHeaderBounds, effect.headers);
  for (std::size_t i = 0; i < effect.headers.size(); ++i) {
    if (!is_http_token(effect.headers[i].first) || !is_header_value(effect.headers[i].second)) {
      bad_option(lua, "headers", "header names, and values without line breaks");
    }
    if (is_reserved_header(effect.headers[i].first)) {
      luaL_error(lua, "bad option 'headers' ('%s' is set by Cachee alone)", effect.headers[i].first.c_str());
    }
  }
}

void add_parent(lua_State* lua, Effect& effect, std::string_view parent) {
  state_of(lua).effect_held.add(sizeof(parent) + parent.size());
  must(lua, [&] { effect.depends_on.emplace_back(parent); });
}

void option_keys(lua_State* lua, int index, Effect& effect) {
  index = lua_absindex(lua, index);
  constexpr const char* kExpected = "a key or a list of keys, of 65536 bytes in all";
  static_assert(kMetadataBytesMax == 65536 && kKeyBytesMax <= kMetadataBytesMax);
  if (lua_type(lua, index) == LUA_TSTRING) {
    if (lua_rawlen(lua, index) > kMetadataBytesMax) bad_option(lua, "depends_on", kExpected);
    return add_parent(lua, effect, view_at(lua, index));
  }
  if (lua_type(lua, index) != LUA_TTABLE) bad_option(lua, "depends_on", kExpected);
  const lua_Unsigned count = lua_rawlen(lua, index);
  if (count > kDependenciesMax) bad_option(lua, "depends_on", "64 keys or fewer");
  std::size_t bytes = 0;
  for (lua_Unsigned i = 1; i <= count; ++i) {
    if (lua_rawgeti(lua, index, static_cast<lua_Integer>(i)) != LUA_TSTRING) bad_option(lua, "depends_on", kExpected);
    bytes += lua_rawlen(lua, -1);
    if (bytes > kMetadataBytesMax) bad_option(lua, "depends_on", kExpected);
    add_parent(lua, effect, view_at(lua, -1));
    lua_pop(lua, 1);
  }
}

enum Option : unsigned {
  kTtl = 1,
  kCost = 2,
  kMetadata = 4,
  kDependsOn = 8,
  kNx = 16,
  kXx = 32,
  kMethod = 64,
  kHeaders = 128,
  kSecret = 256,
  kTimeout = 512,
};

void read_option(lua_State* lua, Option option, const char* name, Effect& effect) {
  switch (option) {
    case kTtl:
      effect.ttl_ms = option_duration(lua, -1, name);
      break;
    case kCost: {
      const double cost = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
      if (!(cost > 0 && std::isfinite(cost))) bad_option(lua, name, "a number above zero");
      effect.cost = cost;
      break;
    }
    case kMetadata:
      option_pairs(lua, -1, name, kMetadataBounds, effect.metadata);
      break;
    case kDependsOn:
      option_keys(lua, -1, effect);
      break;
    case kNx:
      effect.only_absent = option_flag(lua, -1, name);
      break;
    case kXx:
      effect.only_present = option_flag(lua, -1, name);
      break;
    case kMethod: {
      const std::string_view method = option_text(lua, -1, name);
      if (!is_http_token(method)) bad_option(lua, name, "an HTTP method");
      put(lua, effect.method, method);
      break;
    }
    case kHeaders:
      option_headers(lua, -1, effect);
      break;
    case kSecret:
      put(lua, effect.secret, option_text(lua, -1, name));
      break;
    case kTimeout: {
      const std::int64_t timeout_ms = option_duration(lua, -1, name);
      if (timeout_ms > 3'600'000) bad_option(lua, name, "an hour or less");
      effect.timeout_ms = static_cast<std::uint32_t>(timeout_ms);
      break;
    }
  }
}

/// Reads the table of options at the index, if there is one.
void read_options(lua_State* lua, int index, unsigned allowed, Effect& effect) {
  if (lua_isnoneornil(lua, index) != 0) return;
  luaL_checktype(lua, index, LUA_TTABLE);
  struct Name {
    std::string_view text;
    Option option;
  };
  static constexpr Name kNames[] = {{"ttl", kTtl},
                                    {"cost", kCost},
                                    {"metadata", kMetadata},
                                    {"depends_on", kDependsOn},
                                    {"nx", kNx},
                                    {"xx", kXx},
                                    {"method", kMethod},
                                    {"headers", kHeaders},
                                    {"secret", kSecret},
                                    {"timeout", kTimeout}};
  for (lua_pushnil(lua); lua_next(lua, index) != 0; lua_pop(lua, 1)) {
    charge(lua, 2);
    if (lua_type(lua, -2) != LUA_TSTRING) {
      luaL_argerror(lua, index, "options have names: {ttl = 60}");
    }
    const std::string_view text = view_at(lua, -2);
    const auto* const found = std::find_if(
        std::begin(kNames), std::end(kNames),
        [&](const Name& name) { return name.text == text && (allowed & name.option) != 0; });
    if (found == std::end(kNames)) {
      luaL_argerror(lua, index, lua_pushfstring(lua, "there is no option '%s'", text.data()));
    }
    read_option(lua, found->option, found->text.data(), effect);
  }
  std::size_t bytes = 0;
  for (const auto& [field, value] : effect.metadata) bytes += field.size() + value.size();
  for (const std::string& parent : effect.depends_on) bytes += parent.size();
  if (bytes > kMetadataBytesMax) {
    luaL_argerror(lua, index, "metadata and dependencies take more than 65536 bytes");
  }
}

// Reading

enum class Found : std::uint8_t { no, yes, failed };

void require_read(lua_State* lua, Found found) {
  if (found == Found::failed) luaL_error(lua, "the cache cannot be read");
}

Found outcome(Errc code) noexcept {
  if (code == Errc::ok) return Found::yes;
  return code == Errc::not_found ? Found::no : Found::failed;
}

std::string_view value_of(const State& state, const Overlay::Entry& own) noexcept {
  if (own.value_bytes == 0) return own.value;
  return state.effects.since(0).substr(own.value_offset, own.value_bytes);
}

struct Reading {
  Found found = Found::failed;
  std::string_view value{};  // until the next read or effect
};

/// The value in the cache, copied into free room of the text buffer: so it counts.
Reading read_cache(State& state, KeyView key) {
  constexpr int kTries = 16;  // it may have become longer each time
  for (int i = 0; i < kTries; ++i) {
    const std::span<char> room = state.text.room();
    const auto bytes = state.cache->get(key, room);
    if (!bytes) return {outcome(bytes.code())};
    if (*bytes <= room.size()) return {Found::yes, {room.data(), *bytes}};
    static_cast<void>(state.text.reserve(*bytes));
  }
  return {};
}

/// The value as this run sees it. Raises when the run's memory is spent.
Reading read_value(State& state, KeyView key) {
  const Overlay::Entry* const own = state.overlay.find(key);
  if (own != nullptr && !own->exists) return {Found::no};
  if (own != nullptr && own->value_known) return {Found::yes, value_of(state, *own)};
  return read_cache(state, key);
}

/// Remaining milliseconds as this run sees them; -1: no deadline.
Found read_ttl(State& state, KeyView key, std::int64_t& ttl_ms) noexcept {
  Found found = Found::failed;
  const bool done = guarded([&] {
    const Overlay::Entry* const own = state.overlay.find(key);
    if (own != nullptr) {
      found = own->exists ? Found::yes : Found::no;
      ttl_ms = own->ttl_ms.value_or(-1);
      return;
    }
    const auto ttl = state.cache->ttl_ms(key);
    found = outcome(ttl.code());
    if (ttl) ttl_ms = ttl->value_or(-1);
  });
  return done ? found : Found::failed;
}

bool key_exists(lua_State* lua, KeyView key) {
  std::int64_t ttl_ms = 0;
  const Found found = read_ttl(state_of(lua), key, ttl_ms);
  require_read(lua, found);
  charge(lua, 8 + state_of(lua).overlay.size() / 8);
  return found == Found::yes;
}

bool push_value(lua_State* lua, KeyView key) {
  State& state = state_of(lua);
  const auto [found, value] = read_value(state, key);
  require_read(lua, found);
  charge(lua, 8 + state.overlay.size() / 8);
  if (found == Found::no) return false;
  charge(lua, copy_steps(value.size()));
  lua_pushlstring(lua, value.data(), value.size());
  if (state.text.mark() == 0) state.text.reset();
  return true;
}

int cachee_get(lua_State* lua) {
  if (!push_value(lua, check_key(lua, 1))) lua_pushnil(lua);
  return 1;
}

int cachee_mget(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const auto count = static_cast<lua_Integer>(lua_rawlen(lua, 1));
  luaL_argcheck(lua, count <= kManyKeysMax, 1, "at most 10000 keys");
  lua_settop(lua, 1);
  lua_createtable(lua, static_cast<int>(count), 0);
  for (lua_Integer i = 1; i <= count; ++i) {
    if (lua_rawgeti(lua, 1, i) != LUA_TSTRING) {
      return luaL_error(lua, "bad key at index %I (string expected, got %s)",
                        static_cast<LUAI_UACINT>(i), luaL_typename(lua, -1));
    }
    // A missing key is false: nil would be a hole in the list.
    if (!push_value(lua, check_key(lua, 3))) lua_pushboolean(lua, 0);
    lua_rawseti(lua, 2, i);
    lua_settop(lua, 2);
  }
  return 1;
}

int cachee_exists(lua_State* lua) {
  lua_pushboolean(lua, key_exists(lua, check_key(lua, 1)) ? 1 : 0);
  return 1;
}

/// Seconds as Redis' TTL says them, with a fraction: -1 without a deadline, -2 without the key.
int cachee_ttl(lua_State* lua) {
  std::int64_t ttl_ms = 0;
  const Found found = read_ttl(state_of(lua), check_key(lua, 1), ttl_ms);
  require_read(lua, found);
  charge(lua, 8);
  if (found == Found::no) {
    lua_pushinteger(lua, -2);
  } else if (ttl_ms < 0) {
    lua_pushinteger(lua, -1);
  } else {
    lua_pushnumber(lua, static_cast<double>(ttl_ms) / 1000);
  }
  return 1;
}

// Writing

int cachee_set(lua_State* lua) {
  const std::string_view key = check_key(lua, 1);
  const std::string_view value = check_text(lua, 2);
  lua_settop(lua, 3);
  Effect& effect = begin_effect(lua, EffectKind::set);
  put(lua, effect.key, key);
  put(lua, effect.value, value);
  read_options(lua, 3, kTtl | kCost | kMetadata | kDependsOn | kNx | kXx, effect);
  if (effect.only_absent && effect.only_present) {
    return luaL_argerror(lua, 3, "'nx' and 'xx' exclude each other");
  }
  if ((effect.only_absent && key_exists(lua, key)) ||
      (effect.only_present && !key_exists(lua, key))) {
    lua_pushboolean(lua, 0);
    return 1;
  }
  const std::size_t offset = commit_effect(lua) + encoded_value_offset(effect);
  write_overlay(lua, key, [&](Overlay::Entry& own) {
    own.exists = true;
    own.value_known = true;
    own.value.clear();
    own.value_offset = offset;
    own.value_bytes = value.size();
    own.ttl_ms = effect.ttl_ms;
  });
  lua_pushboolean(lua, 1);
  return 1;
}

int remove_key(lua_State* lua, EffectKind kind) {
  const std::string_view key = check_key(lua, 1);
  const bool existed = key_exists(lua, key);
  put(lua, begin_effect(lua, kind).key, key);
  commit_effect(lua);
  write_overlay(lua, key, [](Overlay::Entry& own) { own.exists = false; });
  lua_pushboolean(lua, existed ? 1 : 0);
  return 1;
}

int cachee_del(lua_State* lua) { return remove_key(lua, EffectKind::del); }
int cachee_invalidate(lua_State* lua) { return remove_key(lua, EffectKind::invalidate); }

int cachee_incr(lua_State* lua) {
  const std::string_view key = check_key(lua, 1);
  const lua_Integer delta = luaL_optinteger(lua, 2, 1);
  State& state = state_of(lua);
  std::int64_t ttl_ms = -1;
  std::int64_t number = 0;
  const auto [found, value] = read_value(state, key);
  require_read(lua, found);
  if (found == Found::yes) {
    const auto parsed = parse_integer(value);
    if (!parsed) return luaL_error(lua, "value is not an integer or out of range");
    number = *parsed;
    require_read(lua, read_ttl(state, key, ttl_ms));
  }
  if (__builtin_add_overflow(number, std::int64_t{delta}, &number)) {
    return luaL_error(lua, "increment or decrement would overflow");
  }
  Effect& effect = begin_effect(lua, EffectKind::incr);
  put(lua, effect.key, key);
  effect.delta = delta;
  commit_effect(lua);
  write_overlay(lua, key, [&](Overlay::Entry& own) {
    own.exists = true;
    own.value_known = true;
    own.value = std::to_string(number);
    own.value_bytes = 0;
    own.ttl_ms.reset();
    if (ttl_ms >= 0) own.ttl_ms = ttl_ms;
  });
  lua_pushinteger(lua, number);
  return 1;
}

int cachee_expire(lua_State* lua) {
  const std::string_view key = check_key(lua, 1);
  std::int64_t ttl_ms = 0;
  luaL_checkany(lua, 2);
  if (!read_duration(lua, 2, ttl_ms)) {
    return luaL_argerror(lua, 2, "seconds, or a duration such as '250ms', expected");
  }
  if (!key_exists(lua, key)) {
    lua_pushboolean(lua, 0);
    return 1;
  }
  Effect& effect = begin_effect(lua, EffectKind::expire);
  put(lua, effect.key, key);
  effect.ttl_ms = ttl_ms;
  commit_effect(lua);
  write_overlay(lua, key, [&](Overlay::Entry& own) {
    own.exists = ttl_ms > 0;  // like Redis: a deadline in the past deletes
    own.ttl_ms = ttl_ms;
  });
  lua_pushboolean(lua, 1);
  return 1;
}

std::string_view check_name(lua_State* lua, int index, const char* what) {
  const std::string_view name = check_text(lua, index);
  if (!is_plain_name(name)) luaL_argerror(lua, index, what);
  return name;
}

bool is_json_body(lua_State* lua, int index) noexcept { return lua_istable(lua, index); }

void put_json(lua_State* lua, int index, std::string& out) {
  State& state = state_of(lua);
  const std::size_t mark = state.text.mark();
  json_append(lua, index);
  put(lua, out, state.text.since(mark));
  state.text.cut(mark);
}

int cachee_log(lua_State* lua) {
  const std::string_view channel =
      check_name(lua, 1, "a channel is 1 to 64 of A-Z a-z 0-9 _ . - and does not begin with '.'");
  luaL_argexpected(lua, is_json_body(lua, 2), 2, "table");
  Effect& effect = begin_effect(lua, EffectKind::log);
  put(lua, effect.key, channel);
  put_json(lua, 2, effect.value);
  commit_effect(lua);
  return 0;
}

std::string_view check_url(lua_State* lua, int index) {
  const std::string_view url = check_text(lua, index);
  if (!is_http_url(url)) {
    luaL_argerror(lua, index, "an http:// or https:// URL of at most 8192 bytes expected");
  }
  return url;
}

bool has_header(const Effect& effect, std::string_view name) noexcept {
  return std::any_of(effect.headers.begin(), effect.headers.end(), [name](const auto& header) {
    return equal_ignoring_case(header.first, name);
  });
}

int cachee_webhook(lua_State* lua) {
  const std::string_view url = check_url(lua, 1);
  lua_settop(lua, 3);
  Effect& effect = begin_effect(lua, EffectKind::webhook);
  put(lua, effect.url, url);
  put(lua, effect.method, "POST");
  read_options(lua, 3, kMethod | kHeaders | kSecret | kTimeout, effect);
  if (is_json_body(lua, 2)) {
    put_json(lua, 2, effect.value);
    if (!has_header(effect, "content-type") && effect.headers.size() < kEffectHeadersMax) {
      must(lua, [&] { effect.headers.emplace_back("Content-Type", "application/json"); });
    }
  } else if (lua_isnil(lua, 2) == 0) {
    luaL_argexpected(lua, lua_isstring(lua, 2) != 0, 2, "table or string");
    put(lua, effect.value, check_text(lua, 2));
  }
  commit_effect(lua);
  return 0;
}

int cachee_warm(lua_State* lua) {
  const std::string_view key = check_key(lua, 1);
  const std::string_view url = check_url(lua, 2);
  lua_settop(lua, 3);
  Effect& effect = begin_effect(lua, EffectKind::warm);
  put(lua, effect.key, key);
  put(lua, effect.url, url);
  read_options(lua, 3, kTtl | kCost | kHeaders, effect);
  commit_effect(lua);
  return 0;
}

int cachee_depends_on(lua_State* lua) {
  const std::string_view child = check_key(lua, 1);
  const int last = lua_gettop(lua);
  check_key(lua, 2);  // at least one parent
  luaL_argcheck(lua, last - 1 <= static_cast<int>(kDependenciesMax), last, "at most 64 parents");
  Effect& effect = begin_effect(lua, EffectKind::depends_on);
  put(lua, effect.key, child);
  std::size_t bytes = 0;
  for (int i = 2; i <= last; ++i) {
    const std::string_view parent = check_key(lua, i);
    bytes += parent.size();
    luaL_argcheck(lua, bytes <= kMetadataBytesMax, i, "dependencies take more than 65536 bytes");
    add_parent(lua, effect, parent);
  }
  commit_effect(lua);
  return 0;
}

// Helpers

int cachee_metric(lua_State* lua) {
  const std::string_view name =
      check_name(lua, 1, "a metric is 1 to 64 of A-Z a-z 0-9 _ . - and does not begin with '.'");
  const lua_Number delta = luaL_optnumber(lua, 2, 1);
  luaL_argcheck(lua, std::isfinite(delta), 2, "a finite number expected");
  Effect& effect = begin_effect(lua, EffectKind::metric);
  put(lua, effect.key, name);
  effect.amount = delta;
  commit_effect(lua);
  return 0;
}

/// The same for every attempt at an event. Of the trigger's name the hash: a value may have to be small.
void put_name_of_run(const State& state, std::string& out) {
  state.event->id(out);
  out.append(" ").append(std::to_string(fnv1a(state.trigger_name)));
}

/// Or by this run itself, and it has it already.
bool is_claimed_by_another(lua_State* lua, const Effect& claim) {
  State& state = state_of(lua);
  const auto [found, value] = read_value(state, claim.key);
  require_read(lua, found);
  charge(lua, 8 + state.overlay.size() / 8);
  return found == Found::yes && value != claim.value;
}

int cachee_once(lua_State* lua) {
  const std::string_view id = check_text(lua, 1);
  luaL_argcheck(lua, !id.empty() && id.size() + kOnceKeyPrefix.size() <= kKeyBytesMax, 1,
                "an id of 1 to 65000 bytes expected");
  std::int64_t ttl_ms = static_cast<std::int64_t>(kOnceSecondsDefault) * 1000;
  if (lua_isnoneornil(lua, 2) == 0) {
    luaL_argcheck(lua, read_duration(lua, 2, ttl_ms) && ttl_ms > 0, 2,
                  "seconds above zero, or a duration such as '1h', expected");
  }
  Effect& effect = begin_effect(lua, EffectKind::once);
  // The name of a run is short.
  state_of(lua).effect_held.add(kOnceKeyPrefix.size() + id.size());
  must(lua, [&] {
    effect.key.assign(kOnceKeyPrefix).append(id);
    put_name_of_run(state_of(lua), effect.value);
  });
  if (is_claimed_by_another(lua, effect)) {
    lua_pushboolean(lua, 0);
    return 1;
  }
  write_overlay(lua, effect.key, [&](Overlay::Entry& own) {
    own.exists = true;
    own.value_known = true;
    own.value = kOnceOver;
    own.value_bytes = 0;
    own.ttl_ms = ttl_ms;
  });
  must(lua, [&] { effect.key.assign(id); });
  effect.ttl_ms = ttl_ms;
  commit_effect(lua);
  lua_pushboolean(lua, 1);
  return 1;
}

/// Unix seconds, with a fraction.
int cachee_now(lua_State* lua) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushnumber(lua, static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9);
  return 1;
}

/// FNV-1a of the bytes, 64 bits, as a signed integer; the same on every host and in every version.
int cachee_hash(lua_State* lua) {
  const std::string_view text = check_text(lua, 1);
  charge(lua, byte_steps(text.size()));
  lua_pushinteger(lua, static_cast<lua_Integer>(fnv1a(text)));
  return 1;
}

}  // namespace

void forget_effect(State& state) noexcept {
  Effect& effect = state.effect;
  for (std::string* const text : {&effect.key, &effect.value, &effect.url, &effect.method, &effect.secret}) forget(*text);
  effect.headers.clear();
  effect.ttl_ms.reset();
  effect.cost.reset();
  effect.metadata.clear();
  effect.depends_on.clear();
  effect.only_absent = false;
  effect.only_present = false;
  effect.delta = 0;
  effect.amount = 0;
  effect.timeout_ms = 0;
  state.effect_held.release();
}

void push_cachee_module(lua_State* lua) {
  static constexpr luaL_Reg kFunctions[] = {{"get", cachee_get},
                                            {"mget", cachee_mget},
                                            {"exists", cachee_exists},
                                            {"ttl", cachee_ttl},
                                            {"set", cachee_set},
                                            {"del", cachee_del},
                                            {"invalidate", cachee_invalidate},
                                            {"incr", cachee_incr},
                                            {"expire", cachee_expire},
                                            {"log", cachee_log},
                                            {"webhook", cachee_webhook},
                                            {"warm", cachee_warm},
                                            {"depends_on", cachee_depends_on},
                                            {"metric", cachee_metric},
                                            {"once", cachee_once},
                                            {"now", cachee_now},
                                            {"hash", cachee_hash},
                                            {nullptr, nullptr}};
  static constexpr luaL_Reg kJson[] = {
      {"encode", json_encode}, {"decode", json_decode}, {nullptr, nullptr}};
  luaL_newlib(lua, kFunctions);
  luaL_newlib(lua, kJson);
  lua_pushlightuserdata(lua, nullptr);
  lua_setfield(lua, -2, "null");
  make_read_only(lua, "cachee.json");
  lua_setfield(lua, -2, "json");
}

}  // namespace cachee::daemon::script
