// The table library a script sees. It works on tables as they are: metamethods are not asked, so
// no `__len` makes a loop of 2^40 turns, and every loop is charged before it runs.
#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr lua_Integer kResultsMax = 250'000;
constexpr lua_Unsigned kMoveMax = lua_Unsigned{1} << 24;

lua_Integer check_list(lua_State* lua, int index) {
  luaL_checktype(lua, index, LUA_TTABLE);
  return static_cast<lua_Integer>(lua_rawlen(lua, index));
}

void charge_items(lua_State* lua, lua_Integer count) {
  charge(lua, 1 + static_cast<lua_Unsigned>(count > 0 ? count : 0));
}

int table_insert(lua_State* lua) {
  const lua_Integer next = check_list(lua, 1) + 1;
  check_writable(lua, 1);
  switch (lua_gettop(lua)) {
    case 2:
      lua_rawseti(lua, 1, next);
      return 0;
    case 3: {
      const lua_Integer position = luaL_checkinteger(lua, 2);
      luaL_argcheck(lua, position >= 1 && position <= next, 2, "position out of bounds");
      charge_items(lua, next - position);
      for (lua_Integer i = next; i > position; --i) {
        lua_rawgeti(lua, 1, i - 1);
        lua_rawseti(lua, 1, i);
      }
      lua_rawseti(lua, 1, position);
      return 0;
    }
    default:
      return luaL_error(lua, "wrong number of arguments to 'insert'");
  }
}

int table_remove(lua_State* lua) {
  const lua_Integer size = check_list(lua, 1);
  check_writable(lua, 1);
  lua_Integer position = luaL_optinteger(lua, 2, size);
  if (position != size) {  // the last item of an empty list is at 0
    luaL_argcheck(lua, position >= 1 && position <= size + 1, 2, "position out of bounds");
  }
  lua_rawgeti(lua, 1, position);
  charge_items(lua, size - position);
  for (; position < size; ++position) {
    lua_rawgeti(lua, 1, position + 1);
    lua_rawseti(lua, 1, position);
  }
  lua_pushnil(lua);
  lua_rawseti(lua, 1, position);
  return 1;
}

int table_concat(lua_State* lua) {
  const lua_Integer size = check_list(lua, 1);
  std::size_t separator_bytes = 0;
  const char* const separator = luaL_optlstring(lua, 2, "", &separator_bytes);
  const lua_Integer first = luaL_optinteger(lua, 3, 1);
  const lua_Integer last = luaL_optinteger(lua, 4, size);
  TextBuffer& out = state_of(lua).text;
  const std::size_t mark = out.mark();
  for (lua_Integer i = first; i <= last; ++i) {
    lua_rawgeti(lua, 1, i);
    if (lua_isstring(lua, -1) == 0) {
      return luaL_error(lua, "invalid value (at index %I) in table for 'concat'",
                        static_cast<LUAI_UACINT>(i));
    }
    const std::string_view text = view_at(lua, -1);
    charge(lua, copy_steps(text.size() + separator_bytes));
    out.append(text);
    if (i == last) break;  // last may be the largest integer
    out.append(separator, separator_bytes);
    lua_pop(lua, 1);
  }
  out.push(lua, mark);
  return 1;
}

int table_pack(lua_State* lua) {
  const int count = lua_gettop(lua);
  charge_items(lua, count);
  lua_createtable(lua, count, 1);
  lua_insert(lua, 1);
  for (int i = count; i >= 1; --i) lua_rawseti(lua, 1, i);
  lua_pushinteger(lua, count);
  lua_setfield(lua, 1, "n");
  return 1;
}

int table_unpack(lua_State* lua) {
  const lua_Integer size = check_list(lua, 1);
  const lua_Integer first = luaL_optinteger(lua, 2, 1);
  const lua_Integer last = luaL_optinteger(lua, 3, size);
  if (first > last) return 0;
  const lua_Unsigned count = static_cast<lua_Unsigned>(last) - static_cast<lua_Unsigned>(first);
  if (count >= static_cast<lua_Unsigned>(kResultsMax)) {
    return luaL_error(lua, "too many results to unpack");
  }
  charge(lua, count);
  luaL_checkstack(lua, static_cast<int>(count) + 1, "too many results to unpack");
  for (lua_Unsigned i = 0; i <= count; ++i) {
    lua_rawgeti(lua, 1, static_cast<lua_Integer>(static_cast<lua_Unsigned>(first) + i));
  }
  return static_cast<int>(count) + 1;
}

int table_move(lua_State* lua) {
  const lua_Integer first = luaL_checkinteger(lua, 2);
  const lua_Integer last = luaL_checkinteger(lua, 3);
  const lua_Integer to = luaL_checkinteger(lua, 4);
  const int target = lua_isnoneornil(lua, 5) == 0 ? 5 : 1;
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checktype(lua, target, LUA_TTABLE);
  check_writable(lua, target);
  if (last >= first) {
    const lua_Unsigned count =
        static_cast<lua_Unsigned>(last) - static_cast<lua_Unsigned>(first) + 1;
    luaL_argcheck(lua, count != 0 && count <= kMoveMax, 3, "too many elements to move");
    const auto turns = static_cast<lua_Integer>(count);
    luaL_argcheck(lua, to <= LUA_MAXINTEGER - turns + 1, 4, "destination wrap around");
    charge(lua, count);
    const bool overlaps = to > first && to <= last && lua_rawequal(lua, 1, target) != 0;
    for (lua_Integer n = 0; n < turns; ++n) {
      const lua_Integer i = overlaps ? turns - 1 - n : n;
      lua_rawgeti(lua, 1, first + i);
      lua_rawseti(lua, target, to + i);
    }
  }
  lua_pushvalue(lua, target);
  return 1;
}

/// True when the value at index `a` of the stack stands before that at `b`.
bool sorts_before(lua_State* lua, int a, int b) {
  charge(lua, 2);
  if (lua_isnil(lua, 2) != 0) return lua_compare(lua, a, b, LUA_OPLT) != 0;
  const int left = lua_absindex(lua, a);
  const int right = lua_absindex(lua, b);
  lua_pushvalue(lua, 2);
  lua_pushvalue(lua, left);
  lua_pushvalue(lua, right);
  lua_call(lua, 2, 1);
  const bool before = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  return before;
}

/// Moves the value at `root` down until no child stands behind it in the order.
void sift_down(lua_State* lua, lua_Integer root, lua_Integer count) {
  lua_rawgeti(lua, 1, root);  // the value on its way, kept on the stack
  const int value = lua_gettop(lua);
  for (lua_Integer child = root * 2; child <= count; child = root * 2) {
    lua_rawgeti(lua, 1, child);
    if (child < count) {
      lua_rawgeti(lua, 1, child + 1);
      if (sorts_before(lua, -2, -1)) {
        lua_remove(lua, -2);
        ++child;
      } else {
        lua_pop(lua, 1);
      }
    }
    if (!sorts_before(lua, value, -1)) {
      lua_pop(lua, 1);
      break;
    }
    lua_rawseti(lua, 1, root);
    root = child;
  }
  lua_rawseti(lua, 1, root);
}

/// Heap sort: n log n for every input, and no comparator however inconsistent leads it astray.
int table_sort(lua_State* lua) {
  const lua_Integer count = check_list(lua, 1);
  check_writable(lua, 1);
  if (lua_isnoneornil(lua, 2) == 0) luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_settop(lua, 2);
  luaL_checkstack(lua, 8, "table.sort");
  for (lua_Integer root = count / 2; root >= 1; --root) sift_down(lua, root, count);
  for (lua_Integer last = count; last > 1; --last) {
    lua_rawgeti(lua, 1, last);
    lua_rawgeti(lua, 1, 1);
    lua_rawseti(lua, 1, last);
    lua_rawseti(lua, 1, 1);
    sift_down(lua, 1, last - 1);
  }
  return 0;
}

}  // namespace

void push_table_library(lua_State* lua) {
  static constexpr luaL_Reg kFunctions[] = {{"concat", table_concat}, {"insert", table_insert},
                                            {"move", table_move},     {"pack", table_pack},
                                            {"remove", table_remove}, {"sort", table_sort},
                                            {"unpack", table_unpack}, {nullptr, nullptr}};
  luaL_newlib(lua, kFunctions);
}

}  // namespace cachee::daemon::script
