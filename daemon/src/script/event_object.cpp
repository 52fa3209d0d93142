// The `event` object: an empty read-only table whose __index is the table of the fields, which are made
// when they are read.
//
// A field that was made stays in that table for the rest of the run, so only the first read of it calls us.
// What a run has read, the next run of the same trigger finds made already (begin_event): a handler reads the
// same fields each time, and a call from Lua costs more than making a short string. Long values are made only
// when they are asked for. Now and then what is made beforehand is found out anew.
#include <array>
#include <bit>

#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr std::size_t kBytesBeforehand = 256;   // longer texts are made when they are read
constexpr unsigned kRunsBetweenLooks = 1024;    // after so many runs a trigger is watched anew
constexpr char kNamesKey = 'n';                 // in the registry, by address
constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kMicrosecondsPerMillisecond = 1e3;

[[noreturn]] void out_of_memory(lua_State* lua) { state_of(lua).meter.raise(Limit::memory); }

void push_view(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

void push_unsigned(lua_State* lua, std::uint64_t number) {
  lua_pushinteger(lua, static_cast<lua_Integer>(number));
}

void push_bytes(lua_State* lua, std::string_view bytes) {
  charge(lua, copy_steps(bytes.size()));
  push_view(lua, bytes);
}

void push_metadata(lua_State* lua) {
  State& state = state_of(lua);
  if (!guarded([&] { state.event->metadata(state.metadata); })) out_of_memory(lua);
  charge(lua, 1 + 4 * state.metadata.size());
  lua_createtable(lua, 0, static_cast<int>(state.metadata.size()));
  for (std::size_t i = 0; i < state.metadata.size(); ++i) {
    push_view(lua, state.metadata[i].first);
    push_view(lua, state.metadata[i].second);
    lua_rawset(lua, -3);
  }
}

void push_origin(lua_State* lua) {
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

std::size_t no_bytes(const EventSource&) { return 0; }

struct Field {
  const char* name;
  void (*push)(lua_State* lua, const EventSource& event);
  /// Length of a text that may be long; none: no such text.
  std::size_t (*bytes)(const EventSource& event) = no_bytes;
};

// Those most read come first.
constexpr std::array kFields = {
    Field{"key", [](lua_State* lua, const EventSource& event) { push_view(lua, event.key()); },
          [](const EventSource& event) { return event.key().size(); }},
    Field{"value", [](lua_State* lua, const EventSource& event) { push_bytes(lua, event.value()); },
          [](const EventSource& event) { return event.value().size(); }},
    Field{"metadata", [](lua_State* lua, const EventSource&) { push_metadata(lua); }},
    Field{"old_value",
          [](lua_State* lua, const EventSource& event) {
            const auto old = event.old_value();
            if (old) {
              push_bytes(lua, *old);
            } else {
              lua_pushnil(lua);
            }
          },
          [](const EventSource& event) { return event.old_value().value_or(std::string_view{}).size(); }},
    Field{"type", [](lua_State* lua, const EventSource& event) { lua_pushstring(lua, to_string(event.kind())); }},
    Field{"cause", [](lua_State* lua, const EventSource& event) { lua_pushstring(lua, to_string(event.cause())); }},
    Field{"timestamp", [](lua_State* lua, const EventSource& event) { push_seconds(lua, event.timestamp_wall_us()); }},
    Field{"cost", [](lua_State* lua, const EventSource& event) { lua_pushnumber(lua, event.cost()); }},
    Field{"deadline",
          [](lua_State* lua, const EventSource& event) {
            const auto deadline = event.deadline_wall_us();
            if (deadline) {
              push_seconds(lua, *deadline);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"ttl_ms",
          [](lua_State* lua, const EventSource& event) {
            const auto ttl = event.ttl_ms();
            if (ttl) {
              lua_pushinteger(lua, *ttl);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"lag_ms",
          [](lua_State* lua, const EventSource& event) {
            lua_pushnumber(lua, static_cast<double>(event.lag_us()) / kMicrosecondsPerMillisecond);
          }},
    Field{"id", [](lua_State* lua, const EventSource&) { push_id(lua, 0); }},
    Field{"version", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.version()); }},
    Field{"attempt", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.attempt()); }},
    Field{"duplicate", [](lua_State* lua, const EventSource& event) { lua_pushboolean(lua, event.duplicate() ? 1 : 0); }},
    Field{"depth", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.provenance().depth); }},
    // An event that nothing set off is the first of its own chain and has no parent.
    Field{"chain", [](lua_State* lua, const EventSource& event) { push_id(lua, event.provenance().chain); }},
    Field{"parent",
          [](lua_State* lua, const EventSource& event) {
            const std::uint64_t parent = event.provenance().parent;
            if (parent != 0) {
              push_id(lua, parent);
            } else {
              lua_pushnil(lua);
            }
          }},
    Field{"origin", [](lua_State* lua, const EventSource&) { push_origin(lua); }},
    Field{"trigger", [](lua_State* lua, const EventSource&) { push_view(lua, state_of(lua).trigger_name); }},
    Field{"hits", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.hits()); }},
    Field{"age_ms", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.age_ms()); }},
    Field{"size", [](lua_State* lua, const EventSource& event) { push_unsigned(lua, event.value().size()); }},
};
static_assert(kFields.size() <= State::kEventFieldsMax);

[[nodiscard]] constexpr unsigned bit_of(std::size_t field) noexcept { return 1U << field; }

/// __index of the table of the fields: makes one and keeps it there.
int make_field(lua_State* lua) {
  // A number would be made a string in place, which a table's key must not become.
  if (lua_type(lua, 2) == LUA_TSTRING) {
    State& state = state_of(lua);
    const char* const name = lua_tostring(lua, 2);
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      if (state.event_fields[i] != name) continue;
      kFields[i].push(lua, *state.event);
      lua_pushvalue(lua, 2);
      lua_pushvalue(lua, -2);
      lua_rawset(lua, 1);
      state.fields_made |= bit_of(i);
      return 1;
    }
  }
  lua_pushnil(lua);
  return 1;
}

/// Lua has each short string once: a field is known by its name's address. The names stay in the registry.
void keep_names(lua_State* lua) {
  lua_createtable(lua, static_cast<int>(kFields.size()), 0);
  for (std::size_t i = 0; i < kFields.size(); ++i) {
    lua_pushstring(lua, kFields[i].name);
    state_of(lua).event_fields[i] = lua_tostring(lua, -1);
    lua_rawseti(lua, -2, static_cast<lua_Integer>(i) + 1);
  }
  lua_rawsetp(lua, LUA_REGISTRYINDEX, &kNamesKey);
}

int event_pairs(lua_State* lua) {
  push_event_table(lua);
  push_walker(lua);
  return 1;
}

}  // namespace

void push_event_table(lua_State* lua) {
  lua_createtable(lua, 0, static_cast<int>(kFields.size()));
  const EventSource& event = *state_of(lua).event;
  for (const Field& field : kFields) {
    field.push(lua, event);
    lua_setfield(lua, -2, field.name);
  }
}

bool is_event_object(lua_State* lua, int index) noexcept {
  return lua_topointer(lua, index) == state_of(lua).event_object;
}

void push_event_object(lua_State* lua) {
  keep_names(lua);
  lua_createtable(lua, 0, static_cast<int>(kFields.size()));  // the fields
  lua_createtable(lua, 0, 1);
  lua_pushcfunction(lua, make_field);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, -2);

  lua_pushvalue(lua, -1);
  make_read_only(lua, "event");
  state_of(lua).event_object = lua_topointer(lua, -1);
  lua_getmetatable(lua, -1);
  lua_pushcfunction(lua, event_pairs);  // every field, not only those that were made
  lua_setfield(lua, -2, "__pairs");
  lua_pop(lua, 1);
}

void begin_event(lua_State* lua, int fields) {
  State& state = state_of(lua);
  if (++state.runs_watched == kRunsBetweenLooks) {
    state.runs_watched = 0;
    state.fields_wanted = 0;
  }
  const unsigned wanted = state.fields_wanted;
  for (unsigned left = state.fields_made | wanted; left != 0; left &= left - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(left));
    const Field& field = kFields[i];
    if ((wanted & bit_of(i)) != 0 && field.bytes(*state.event) <= kBytesBeforehand) {
      state.fields_made |= bit_of(i);
      field.push(lua, *state.event);
    } else {
      state.fields_made &= ~bit_of(i);
      lua_pushnil(lua);
    }
    lua_setfield(lua, fields, field.name);
  }
}

void end_event(State& state, int fields) noexcept {
  state.fields_wanted |= state.fields_made;
  for (unsigned left = state.fields_made; left != 0; left &= left - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(left));
    if (kFields[i].bytes(*state.event) <= kBytesBeforehand) continue;
    // Neither the name nor the place in the table is new: this takes no memory and so raises nothing.
    lua_pushnil(state.lua);
    lua_setfield(state.lua, fields, kFields[i].name);
    state.fields_made &= ~bit_of(i);
  }
  state.event = nullptr;
}

}  // namespace cachee::daemon::script
