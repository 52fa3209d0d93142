// What a Lua script may do: the names it sees, and nothing else.
//
// A chunk's globals are an empty table in front of a shared table of read-only names. What a run
// assigns there is dropped after the run, libraries are faces without content of their own, the
// metatable of strings is out of reach: nothing of one run is there for the next.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "script/state.hpp"

namespace cachee::daemon::script {

TextBuffer::~TextBuffer() { std::free(data_); }

void TextBuffer::grow(std::size_t bytes) {
  constexpr std::size_t kFirstBytes = 512;
  const std::size_t wanted = std::max({kFirstBytes, size_ + bytes, capacity_ + capacity_ / 2});
  meter_.take(wanted - capacity_);
  void* const made = std::realloc(data_, wanted);
  if (made == nullptr) {
    meter_.give_back(wanted - capacity_);
    meter_.raise(Limit::memory);
  }
  data_ = static_cast<char*>(made);
  capacity_ = wanted;
}

void TextBuffer::reset() noexcept {
  size_ = 0;
  if (capacity_ <= keep_bytes_) return;
  std::free(data_);
  meter_.give_back(capacity_);
  data_ = nullptr;
  capacity_ = 0;
}

namespace {

// Keys in metatables, by address, so that no script can name them.
constexpr char kReadOnlyKey = 'r';
constexpr char kEnvironmentKey = 'e';
constexpr char kEnvironmentMetaKey = 'm';  // in the registry

bool marked(lua_State* lua, const char& key) {
  const bool yes = lua_rawgetp(lua, -1, &key) == LUA_TBOOLEAN;
  lua_pop(lua, 1);
  return yes;
}

int refuse_change(lua_State* lua) {
  return luaL_error(lua, "attempt to change '%s', which is read-only",
                    lua_tostring(lua, lua_upvalueindex(1)));
}

int read_only_next(lua_State* lua) {
  lua_settop(lua, 2);
  return lua_next(lua, lua_upvalueindex(1)) != 0 ? 2 : 0;
}

int read_only_pairs(lua_State* lua) {
  lua_pushvalue(lua, lua_upvalueindex(1));
  push_walker(lua);
  return 1;
}

/// Hands an error on when it is the end of the run; true for one that a script may catch.
void after_error(lua_State* lua, int status, std::size_t text_mark) {
  State& state = state_of(lua);
  state.text.cut(text_mark);
  if (status == LUA_ERRMEM) state.meter.note(Limit::memory);
  if (state.meter.exceeded() != Limit::none) state.meter.raise(state.meter.exceeded());
}

int base_pcall(lua_State* lua) {
  luaL_checkany(lua, 1);
  const std::size_t mark = state_of(lua).text.mark();
  lua_pushboolean(lua, 1);
  lua_insert(lua, 1);
  const int status = lua_pcall(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0);
  if (status == LUA_OK) return lua_gettop(lua);
  after_error(lua, status, mark);
  lua_pushboolean(lua, 0);
  lua_insert(lua, -2);
  return 2;
}

/// Message handler around the script's own: not called once a limit is exceeded.
int guarded_handler(lua_State* lua) {
  if (state_of(lua).meter.exceeded() != Limit::none) return 1;
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, 1, 1);
  return 1;
}

int base_xpcall(lua_State* lua) {
  const int arguments = lua_gettop(lua) - 2;
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  const std::size_t mark = state_of(lua).text.mark();
  lua_pushvalue(lua, 2);
  lua_pushcclosure(lua, guarded_handler, 1);
  lua_replace(lua, 2);
  // Stack: function, handler, arguments -> handler at 2, true, function, arguments.
  lua_pushboolean(lua, 1);
  lua_pushvalue(lua, 1);
  lua_rotate(lua, 3, 2);
  const int status = lua_pcall(lua, arguments, LUA_MULTRET, 2);
  if (status == LUA_OK) return lua_gettop(lua) - 2;
  after_error(lua, status, mark);
  lua_pushboolean(lua, 0);
  lua_insert(lua, -2);
  return 2;
}

int base_setmetatable(lua_State* lua) {
  const int type = lua_type(lua, 2);
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_argexpected(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
  if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL) {
    return luaL_error(lua, "cannot change a protected metatable");
  }
  if (type == LUA_TTABLE) {
    // Finalizers would run outside of any budget, weak tables cost the collector unbounded time.
    for (const char* const name : {"__gc", "__mode"}) {
      lua_pushstring(lua, name);
      if (lua_rawget(lua, 2) != LUA_TNIL) {
        return luaL_error(lua, "setmetatable: a metatable with '%s' is not allowed", name);
      }
      lua_pop(lua, 1);
    }
    // A chain of tables that call each other is followed inside the VM, where no hook runs.
    lua_pushliteral(lua, "__call");
    const int call = lua_rawget(lua, 2);
    if (call != LUA_TNIL && call != LUA_TFUNCTION) {
      return luaL_error(lua, "setmetatable: '__call' must be a function");
    }
  }
  lua_settop(lua, 2);
  lua_setmetatable(lua, 1);
  return 1;
}

int base_rawset(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checkany(lua, 2);
  luaL_checkany(lua, 3);
  check_writable(lua, 1);
  lua_settop(lua, 3);
  lua_rawset(lua, 1);
  return 1;
}

int base_tostring(lua_State* lua) {
  luaL_checkany(lua, 1);
  push_text(lua, 1);
  return 1;
}

/// A function of Lua's own that is linear in its first argument when that is a string.
int charged_by_first(lua_State* lua) {
  if (lua_type(lua, 1) == LUA_TSTRING) charge(lua, byte_steps(lua_rawlen(lua, 1)));
  return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

int note_global(lua_State* lua) {
  state_of(lua).env_dirty = true;
  lua_settop(lua, 3);
  lua_rawset(lua, 1);
  return 0;
}

/// Pushes a library of Lua's own as a new table.
void open_library(lua_State* lua, lua_CFunction open) {
  lua_pushcfunction(lua, open);
  lua_call(lua, 0, 1);
}

void wrap_field(lua_State* lua, const char* name) {
  lua_getfield(lua, -1, name);
  lua_pushcclosure(lua, charged_by_first, 1);
  lua_setfield(lua, -2, name);
}

/// Fills the table on top with the base functions that a script may call.
void install_base(lua_State* lua) {
  const int target = lua_gettop(lua);
  lua_pushcfunction(lua, luaopen_base);  // puts everything into the state's own globals
  lua_call(lua, 0, 1);
  for (const char* const name : {"assert", "error", "getmetatable", "ipairs", "next", "pairs",
                                 "rawequal", "rawget", "rawlen", "select", "tonumber", "type"}) {
    lua_getfield(lua, -1, name);
    lua_setfield(lua, target, name);
  }
  lua_pop(lua, 1);
  static constexpr luaL_Reg kFunctions[] = {
      {"pcall", base_pcall},   {"xpcall", base_xpcall},     {"setmetatable", base_setmetatable},
      {"rawset", base_rawset}, {"tostring", base_tostring}, {nullptr, nullptr}};
  luaL_setfuncs(lua, kFunctions, 0);
  wrap_field(lua, "tonumber");
}

void install_library(lua_State* lua, const char* name) {
  make_read_only(lua, name);
  lua_setfield(lua, -2, name);
}

/// Empties the state's own globals and list of modules: what a script is not given is not there.
void drop_leftovers(lua_State* lua) {
  lua_newtable(lua);
  lua_rawseti(lua, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushnil(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

}  // namespace

void check_writable(lua_State* lua, int index) {
  if (lua_getmetatable(lua, index) == 0) return;
  if (marked(lua, kReadOnlyKey)) {
    lua_getfield(lua, -1, "__name");
    luaL_error(lua, "attempt to change '%s', which is read-only", lua_tostring(lua, -1));
  }
  if (marked(lua, kEnvironmentKey)) state_of(lua).env_dirty = true;
  lua_pop(lua, 1);
}

void push_walker(lua_State* lua) { lua_pushcclosure(lua, read_only_next, 1); }

void make_read_only(lua_State* lua, const char* name) {
  lua_createtable(lua, 0, 0);  // the face
  lua_createtable(lua, 0, 6);  // its metatable
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushstring(lua, name);
  lua_pushcclosure(lua, refuse_change, 1);
  lua_setfield(lua, -2, "__newindex");
  lua_pushvalue(lua, -3);
  lua_pushcclosure(lua, read_only_pairs, 1);
  lua_setfield(lua, -2, "__pairs");
  lua_pushstring(lua, name);
  lua_setfield(lua, -2, "__name");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pushboolean(lua, 1);
  lua_rawsetp(lua, -2, &kReadOnlyKey);
  lua_setmetatable(lua, -2);
  lua_replace(lua, -2);
}

void push_text(lua_State* lua, int index) {
  index = lua_absindex(lua, index);
  if (luaL_callmeta(lua, index, "__tostring") != 0) {
    if (lua_isstring(lua, -1) == 0) luaL_error(lua, "'__tostring' must return a string");
    return;
  }
  switch (lua_type(lua, index)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
      lua_pushvalue(lua, index);
      lua_tolstring(lua, -1, nullptr);
      return;
    case LUA_TBOOLEAN:
      lua_pushstring(lua, lua_toboolean(lua, index) != 0 ? "true" : "false");
      return;
    case LUA_TNIL:
      lua_pushliteral(lua, "nil");
      return;
    default:
      break;
  }
  // Tells two objects apart without showing where they are.
  static const std::uint64_t secret =
      fnv1a({reinterpret_cast<const char*>(&index), sizeof(index)}) ^
      reinterpret_cast<std::uintptr_t>(&index) ^ static_cast<std::uint64_t>(monotonic_now());
  const std::uintptr_t words[] = {reinterpret_cast<std::uintptr_t>(lua_topointer(lua, index)),
                                  static_cast<std::uintptr_t>(secret)};
  const std::uint64_t hash = fnv1a({reinterpret_cast<const char*>(words), sizeof(words)});
  const int named = luaL_getmetafield(lua, index, "__name");
  const char* const kind = named == LUA_TSTRING ? lua_tostring(lua, -1) : luaL_typename(lua, index);
  char digits[24];
  std::snprintf(digits, sizeof(digits), "%08x", static_cast<unsigned>(hash >> 32));
  lua_pushfstring(lua, "%s: %s", kind, digits);
  if (named != LUA_TNIL) lua_remove(lua, -2);
}

void push_environment(lua_State* lua) {
  lua_createtable(lua, 0, 0);
  lua_rawgetp(lua, LUA_REGISTRYINDEX, &kEnvironmentMetaKey);
  lua_setmetatable(lua, -2);
}

void install_sandbox(lua_State* lua) {
  lua_createtable(lua, 0, 32);  // the names
  const int names = lua_gettop(lua);
  install_base(lua);

  push_string_library(lua);
  install_library(lua, "string");
  push_table_library(lua);
  install_library(lua, "table");
  open_library(lua, luaopen_math);
  lua_pushnil(lua);  // it would go on into later runs: the state of the numbers is the library's
  lua_setfield(lua, -2, "randomseed");
  install_library(lua, "math");
  open_library(lua, luaopen_utf8);
  for (const char* const name : {"codepoint", "len", "offset"}) wrap_field(lua, name);
  install_library(lua, "utf8");

  push_event_object(lua);
  lua_pushvalue(lua, -1);
  lua_setfield(lua, names, "event");
  push_cachee_module(lua);
  make_read_only(lua, "cachee");
  lua_pushvalue(lua, -1);
  lua_setfield(lua, names, "cachee");

  lua_createtable(lua, 0, 5);  // metatable of every environment
  lua_pushvalue(lua, names);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, note_global);
  lua_setfield(lua, -2, "__newindex");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pushboolean(lua, 1);
  lua_rawsetp(lua, -2, &kEnvironmentKey);
  lua_rawsetp(lua, LUA_REGISTRYINDEX, &kEnvironmentMetaKey);
  lua_remove(lua, names);
  drop_leftovers(lua);
}

}  // namespace cachee::daemon::script
