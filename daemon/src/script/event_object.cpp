// The `event` object: one userdata per state, whose fields are made when they are read.
#include <array>

#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

// What is made once per run stays in a user value of the object.
enum Cached : int { kMetadata = 1, kOrigin, kValue, kOldValue, kCachedCount = kOldValue };
constexpr std::size_t kCacheBytesMin = 1024;  // smaller strings are cheaper made again
constexpr char kNamesKey = 'n';                // in the registry, by address
constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kMicrosecondsPerMillisecond = 1e3;

[[noreturn]] void out_of_memory(lua_State* lua) { state_of(lua).meter.raise(Limit::memory); }

void push_view(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

void push_unsigned(lua_State* lua, std::uint64_t number) {
  lua_pushinteger(lua, static_cast<lua_Integer>(number));
}

/// Keeps the value on top for the next read of this run. `object` 0: there is no object to keep it.
void keep(lua_State* lua, int object, Cached slot) {
  if (object == 0) return;
  lua_pushvalue(lua, -1);
  lua_setiuservalue(lua, object, slot);
  state_of(lua).event_cached |= 1U << slot;
}

bool push_kept(lua_State* lua, int object, Cached slot) {
  if (object == 0 || (state_of(lua).event_cached & (1U << slot)) == 0) return false;
  lua_getiuservalue(lua, object, slot);
  return true;
}

void push_bytes(lua_State* lua, int object, Cached slot, std::string_view bytes) {
  if (push_kept(lua, object, slot)) return;
  charge(lua, copy_steps(bytes.size()));
  push_view(lua, bytes);
  if (bytes.size() >= kCacheBytesMin) keep(lua, object, slot);
}

void push_metadata(lua_State* lua, int object) {
  if (push_kept(lua, object, kMetadata)) return;
  State& state = state_of(lua);
  if (!guarded([&] { state.event->metadata(state.metadata); })) out_of_memory(lua);
  charge(lua, 1 + 4 * state.metadata.size());
  lua_createtable(lua, 0, static_cast<int>(state.metadata.size()));
  for (std::size_t i = 0; i < state.metadata.size(); ++i) {
    push_view(lua, state.metadata[i].first);
    push_view(lua, state.metadata[i].second);
    lua_rawset(lua, -3);
  }
  keep(lua, object, kMetadata);
}

void push_origin(lua_State* lua, int object) {
  if (push_kept(lua, object, kOrigin)) return;
  State& state = state_of(lua);
  lua_createtable(lua, 0, 4);
  lua_pushstring(lua, to_string(state.event->origin_role()));
  lua_setfield(lua, -2, "kind");
  lua_pushinteger(lua, state.event->origin_pid());
  lua_setfield(lua, -2, "pid");
  if (!guarded([&] { state.event->origin_client(state.bytes); })) out_of_memory(lua);
  push_view(lua, state.bytes);
  lua_setfield(lua, -2, "client");
  if (!guarded([&] { state.event->origin_instance(state.bytes); })) out_of_memory(lua);
  push_view(lua, state.bytes);
  lua_setfield(lua, -2, "instance");
  keep(lua, object, kOrigin);
}

void push_id(lua_State* lua, std::uint64_t number) {
  State& state = state_of(lua);
  const bool made = guarded([&] {
    if (number == 0) {
      state.event->id(state.bytes);
    } else {
      state.event->id_of(number, state.bytes);
    }
  });
  if (!made) out_of_memory(lua);
  push_view(lua, state.bytes);
}

void push_seconds(lua_State* lua, std::int64_t microseconds) {
  lua_pushnumber(lua, static_cast<double>(microseconds) / kMicrosecondsPerSecond);
}

struct Field {
  std::string_view name;
  void (*push)(lua_State* lua, const EventSource& event, int object);
};

// Those most read come first.
constexpr std::array kFields = {
    Field{"key",
          [](lua_State* lua, const EventSource& event, int) { push_view(lua, event.key()); }},
    Field{"value", [](lua_State* lua, const EventSource& event,
                      int object) { push_bytes(lua, object, kValue, event.value()); }},
    Field{"metadata",
          [](lua_State* lua, const EventSource&, int object) { push_metadata(lua, object); }},
    Field{"old_value",
          [](lua_State* lua, const EventSource& event, int object) {
            const auto old = event.old_value();
            if (old) {
              push_bytes(lua, object, kOldValue, *old);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"type", [](lua_State* lua, const EventSource& event,
                     int) { lua_pushstring(lua, to_string(event.kind())); }},
    Field{"cause", [](lua_State* lua, const EventSource& event,
                      int) { lua_pushstring(lua, to_string(event.cause())); }},
    Field{"timestamp", [](lua_State* lua, const EventSource& event,
                          int) { push_seconds(lua, event.timestamp_wall_us()); }},
    Field{"cost",
          [](lua_State* lua, const EventSource& event, int) { lua_pushnumber(lua, event.cost()); }},
    Field{"deadline",
          [](lua_State* lua, const EventSource& event, int) {
            const auto deadline = event.deadline_wall_us();
            if (deadline) {
              push_seconds(lua, *deadline);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"ttl_ms",
          [](lua_State* lua, const EventSource& event, int) {
            const auto ttl = event.ttl_ms();
            if (ttl) {
              lua_pushinteger(lua, *ttl);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"lag_ms",
          [](lua_State* lua, const EventSource& event, int) {
            lua_pushnumber(lua, static_cast<double>(event.lag_us()) / kMicrosecondsPerMillisecond);
          }},
    Field{"id", [](lua_State* lua, const EventSource&, int) { push_id(lua, 0); }},
    Field{"version", [](lua_State* lua, const EventSource& event,
                        int) { push_unsigned(lua, event.version()); }},
    Field{"attempt", [](lua_State* lua, const EventSource& event,
                        int) { push_unsigned(lua, event.attempt()); }},
    Field{"duplicate", [](lua_State* lua, const EventSource& event,
                          int) { lua_pushboolean(lua, event.duplicate() ? 1 : 0); }},
    Field{"depth", [](lua_State* lua, const EventSource& event,
                      int) { push_unsigned(lua, event.provenance().depth); }},
    // An event that nothing set off is the first of its own chain and has no parent.
    Field{"chain", [](lua_State* lua, const EventSource& event,
                      int) { push_id(lua, event.provenance().chain); }},
    Field{"parent",
          [](lua_State* lua, const EventSource& event, int) {
            const std::uint64_t parent = event.provenance().parent;
            if (parent != 0) {
              push_id(lua, parent);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"origin",
          [](lua_State* lua, const EventSource&, int object) { push_origin(lua, object); }},
    Field{"trigger", [](lua_State* lua, const EventSource&,
                        int) { push_view(lua, state_of(lua).trigger_name); }},
    Field{"hits",
          [](lua_State* lua, const EventSource& event, int) { push_unsigned(lua, event.hits()); }},
    Field{"age_ms", [](lua_State* lua, const EventSource& event,
                       int) { push_unsigned(lua, event.age_ms()); }},
    Field{"size", [](lua_State* lua, const EventSource& event,
                     int) { push_unsigned(lua, event.value().size()); }},
};

int event_index(lua_State* lua) {
  // A number would be made a string in place, which a table's key must not become.
  if (lua_type(lua, 2) == LUA_TSTRING) {
    const State& state = state_of(lua);
    const char* const name = lua_tostring(lua, 2);
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      if (state.event_fields[i] == name) {
        kFields[i].push(lua, *state.event, 1);
        return 1;
      }
    }
  }
  lua_pushnil(lua);
  return 1;
}

/// Lua has each short string once: a field is known by its name's address. The names stay in the registry.
void keep_names(lua_State* lua) {
  static_assert(kFields.size() <= State::kEventFieldsMax);
  lua_createtable(lua, static_cast<int>(kFields.size()), 0);
  for (std::size_t i = 0; i < kFields.size(); ++i) {
    push_view(lua, kFields[i].name);
    state_of(lua).event_fields[i] = lua_tostring(lua, -1);
    lua_rawseti(lua, -2, static_cast<lua_Integer>(i) + 1);
  }
  lua_rawsetp(lua, LUA_REGISTRYINDEX, &kNamesKey);
}

int event_newindex(lua_State* lua) {
  return luaL_error(lua, "attempt to change 'event', which is read-only");
}

int event_next(lua_State* lua) {
  lua_settop(lua, 2);
  return lua_next(lua, lua_upvalueindex(1)) != 0 ? 2 : 0;
}

int event_pairs(lua_State* lua) {
  push_event_table(lua);
  lua_pushcclosure(lua, event_next, 1);
  return 1;
}

}  // namespace

void push_event_table(lua_State* lua) {
  lua_createtable(lua, 0, static_cast<int>(kFields.size()));
  const EventSource& event = *state_of(lua).event;
  for (const Field& field : kFields) {
    push_view(lua, field.name);
    field.push(lua, event, 0);
    lua_rawset(lua, -3);
  }
}

bool is_event_object(lua_State* lua, int index) noexcept {
  // The only full userdata that a script can hold.
  return lua_type(lua, index) == LUA_TUSERDATA;
}

void push_event_object(lua_State* lua) {
  keep_names(lua);
  lua_newuserdatauv(lua, 0, kCachedCount);
  static constexpr luaL_Reg kMethods[] = {{"__index", event_index},
                                          {"__newindex", event_newindex},
                                          {"__pairs", event_pairs},
                                          {nullptr, nullptr}};
  luaL_newlib(lua, kMethods);
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pushliteral(lua, "event");
  lua_setfield(lua, -2, "__name");
  lua_setmetatable(lua, -2);
  lua_pushvalue(lua, -1);
  lua_rawsetp(lua, LUA_REGISTRYINDEX, &kFields);
}

void forget_event(State& state) {
  state.event = nullptr;
  if (state.event_cached == 0) return;
  lua_rawgetp(state.lua, LUA_REGISTRYINDEX, &kFields);
  for (int slot = 1; slot <= kCachedCount; ++slot) {
    lua_pushnil(state.lua);
    lua_setiuservalue(state.lua, -2, slot);
  }
  lua_pop(state.lua, 1);
  state.event_cached = 0;
}

}  // namespace cachee::daemon::script
