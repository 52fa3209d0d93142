// The string library a script sees: Lua's, with every loop charged to the run's meter.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "script/pattern.hpp"
#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr lua_Integer kResultsMax =
    250'000;  // values a function returns; Lua's stack ends at a million
constexpr std::size_t kPackFormatBytesMax = 1000;
constexpr int kPackDigitsMax = 6;

std::string_view check_string(lua_State* lua, int index) {
  std::size_t bytes = 0;
  const char* text = luaL_checklstring(lua, index, &bytes);
  return {text, bytes};
}

/// First position, 1-based, as string.sub and friends read it.
std::size_t start_position(lua_Integer position, std::size_t bytes) noexcept {
  const auto length = static_cast<lua_Integer>(bytes);
  if (position > 0) return static_cast<std::size_t>(position);
  if (position == 0 || position < -length) return 1;
  return static_cast<std::size_t>(length + position + 1);
}

std::size_t end_position(lua_Integer position, std::size_t bytes) noexcept {
  const auto length = static_cast<lua_Integer>(bytes);
  if (position > length) return bytes;
  if (position >= 0) return static_cast<std::size_t>(position);
  if (position < -length) return 0;
  return static_cast<std::size_t>(length + position + 1);
}

int string_len(lua_State* lua) {
  lua_pushinteger(lua, static_cast<lua_Integer>(check_string(lua, 1).size()));
  return 1;
}

int string_sub(lua_State* lua) {
  const std::string_view text = check_string(lua, 1);
  const std::size_t first = start_position(luaL_checkinteger(lua, 2), text.size());
  const std::size_t last = end_position(luaL_optinteger(lua, 3, -1), text.size());
  if (first > last) {
    lua_pushliteral(lua, "");
    return 1;
  }
  charge(lua, copy_steps(last - first));
  lua_pushlstring(lua, text.data() + first - 1, last - first + 1);
  return 1;
}

/// Pushes the string with each byte replaced by `change` of the byte at the place `from` says.
template <class Change>
int transform(lua_State* lua, Change change) {
  const std::string_view text = check_string(lua, 1);
  charge(lua, byte_steps(text.size()));
  State& state = state_of(lua);
  const std::size_t mark = state.text.mark();
  change(text, state.text.reserve(text.size()));
  state.text.commit(text.size());
  state.text.push(lua, mark);
  return 1;
}

int string_lower(lua_State* lua) {
  return transform(lua, [](std::string_view from, char* to) {
    std::transform(from.begin(), from.end(), to,
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  });
}

int string_upper(lua_State* lua) {
  return transform(lua, [](std::string_view from, char* to) {
    std::transform(from.begin(), from.end(), to,
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  });
}

int string_reverse(lua_State* lua) {
  return transform(lua, [](std::string_view from, char* to) {
    std::reverse_copy(from.begin(), from.end(), to);
  });
}

int string_byte(lua_State* lua) {
  const std::string_view text = check_string(lua, 1);
  const lua_Integer position = luaL_optinteger(lua, 2, 1);
  const std::size_t first = start_position(position, text.size());
  const std::size_t last = end_position(luaL_optinteger(lua, 3, position), text.size());
  if (first > last) return 0;
  const auto count = static_cast<lua_Integer>(last - first + 1);
  if (count > kResultsMax) return luaL_error(lua, "string slice too long");
  charge(lua, 1 + static_cast<std::uint64_t>(count));
  luaL_checkstack(lua, static_cast<int>(count), "string slice too long");
  for (std::size_t i = first - 1; i < last; ++i) {
    lua_pushinteger(lua, static_cast<unsigned char>(text[i]));
  }
  return static_cast<int>(count);
}

int string_char(lua_State* lua) {
  State& state = state_of(lua);
  const std::size_t mark = state.text.mark();
  const int count = lua_gettop(lua);
  charge(lua, 1 + static_cast<std::uint64_t>(count));
  for (int i = 1; i <= count; ++i) {
    const lua_Integer c = luaL_checkinteger(lua, i);
    luaL_argcheck(lua, c >= 0 && c <= 255, i, "value out of range");
    state.text.append(static_cast<char>(c));
  }
  state.text.push(lua, mark);
  return 1;
}

int string_rep(lua_State* lua) {
  const std::string_view text = check_string(lua, 1);
  const lua_Integer count = luaL_checkinteger(lua, 2);
  std::size_t separator_bytes = 0;
  const char* const separator = luaL_optlstring(lua, 3, "", &separator_bytes);
  if (count <= 0 || (text.empty() && separator_bytes == 0)) {
    lua_pushliteral(lua, "");
    return 1;
  }
  std::size_t total = 0;
  if (__builtin_mul_overflow(text.size() + separator_bytes, static_cast<std::size_t>(count),
                             &total)) {
    return luaL_error(lua, "resulting string too large");
  }
  total -= separator_bytes;
  State& state = state_of(lua);
  const std::size_t mark = state.text.mark();
  char* const out = state.text.reserve(total);  // refused at once when the memory limit is lower
  state.meter.charge(copy_steps(total));
  if (separator_bytes == 0 && text.size() == 1) {
    std::memset(out, text.front(), total);
  } else {
    // The first unit is copied, then what is there is doubled: few large copies.
    const std::size_t unit = text.size() + separator_bytes;
    std::memcpy(out, text.data(), text.size());
    if (count > 1) {
      std::memcpy(out + text.size(), separator, separator_bytes);
      for (std::size_t done = unit; done < total;) {
        const std::size_t step = std::min(done, total - done);
        std::memcpy(out + done, out, step);
        done += step;
      }
    }
  }
  state.text.commit(total);
  state.text.push(lua, mark);
  return 1;
}

int find_or_match(lua_State* lua, bool find) {
  const std::string_view text = check_string(lua, 1);
  const std::string_view pattern = check_string(lua, 2);
  const std::size_t init = start_position(luaL_optinteger(lua, 3, 1), text.size()) - 1;
  if (init > text.size()) {
    luaL_pushfail(lua);
    return 1;
  }
  if (find && (lua_toboolean(lua, 4) != 0 || is_plain_pattern(pattern))) {
    charge(lua, byte_steps(text.size() - init + pattern.size()));
    // memmem is linear, whatever subject and pattern.
    const void* const at = pattern.empty() ? text.data() + init
                                           : memmem(text.data() + init, text.size() - init,
                                                    pattern.data(), pattern.size());
    if (at == nullptr) {
      luaL_pushfail(lua);
      return 1;
    }
    const auto offset = static_cast<const char*>(at) - text.data();
    lua_pushinteger(lua, offset + 1);
    lua_pushinteger(lua, offset + static_cast<lua_Integer>(pattern.size()));
    return 2;
  }
  Matcher matcher{lua, text, pattern};
  const char* at = matcher.begin() + init;
  do {
    const char* const stop = matcher.match(at);
    if (stop != nullptr) {
      matcher.settle();
      if (!find) return matcher.push_captures(at, stop);
      lua_pushinteger(lua, at - matcher.begin() + 1);
      lua_pushinteger(lua, stop - matcher.begin());
      return 2 + matcher.push_captures(nullptr, nullptr);
    }
  } while (at++ < matcher.end() && !matcher.anchored());
  matcher.settle();
  luaL_pushfail(lua);
  return 1;
}

int string_find(lua_State* lua) { return find_or_match(lua, true); }
int string_match(lua_State* lua) { return find_or_match(lua, false); }

// Upvalues of gmatch's iterator: subject, pattern, next offset, end of the last match (-1: none).
int gmatch_next(lua_State* lua) {
  const std::string_view text = view_at(lua, lua_upvalueindex(1));
  const std::string_view pattern = view_at(lua, lua_upvalueindex(2));
  const auto next = lua_tointeger(lua, lua_upvalueindex(3));
  const auto last_end = lua_tointeger(lua, lua_upvalueindex(4));
  Matcher matcher{lua, text, pattern};
  for (const char* at = matcher.begin() + next; at <= matcher.end(); ++at) {
    const char* const stop = matcher.match(at);
    // An empty match right behind the last match would be found for ever.
    if (stop == nullptr || stop - matcher.begin() == last_end) continue;
    matcher.settle();
    lua_pushinteger(lua, stop - matcher.begin());
    lua_pushvalue(lua, -1);
    lua_replace(lua, lua_upvalueindex(3));
    lua_replace(lua, lua_upvalueindex(4));
    return matcher.push_captures(at, stop);
  }
  matcher.settle();
  return 0;
}

int string_gmatch(lua_State* lua) {
  const std::string_view text = check_string(lua, 1);
  const std::string_view pattern = check_string(lua, 2);
  const std::size_t init = start_position(luaL_optinteger(lua, 3, 1), text.size()) - 1;
  // In gmatch a '^' is no anchor but itself, so an escape keeps the matcher from seeing one.
  lua_settop(lua, 2);
  if (!pattern.empty() && pattern.front() == '^') {
    State& state = state_of(lua);
    const std::size_t mark = state.text.mark();
    state.text.append('%');
    state.text.append(pattern);
    state.text.push(lua, mark);
    lua_replace(lua, 2);
  }
  lua_pushinteger(lua, static_cast<lua_Integer>(std::min(init, text.size() + 1)));
  lua_pushinteger(lua, -1);
  lua_pushcclosure(lua, gmatch_next, 4);
  return 1;
}

void append_replacement(lua_State* lua, Matcher& matcher, const char* from, const char* to) {
  TextBuffer& out = state_of(lua).text;
  const std::string_view form = view_at(lua, 3);
  charge(lua, copy_steps(form.size()));
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] != '%') {
      out.append(form[i]);
      continue;
    }
    const char next = ++i < form.size() ? form[i] : '\0';
    if (next == '%') {
      out.append('%');
    } else if (next == '0') {
      out.append(from, static_cast<std::size_t>(to - from));
    } else if (std::isdigit(static_cast<unsigned char>(next)) != 0) {
      matcher.push_capture(next - '1', from, to);
      out.append(view_at(lua, -1));
      lua_pop(lua, 1);
    } else {
      luaL_error(lua, "invalid use of '%%' in replacement string");
    }
  }
}

/// Appends what stands for one match. False when the match is kept as it is.
bool append_value(lua_State* lua, Matcher& matcher, const char* from, const char* to) {
  TextBuffer& out = state_of(lua).text;
  switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION: {
      lua_pushvalue(lua, 3);
      const int count = matcher.push_captures(from, to);
      lua_call(lua, count, 1);
      break;
    }
    case LUA_TTABLE:
      matcher.push_capture(0, from, to);
      lua_gettable(lua, 3);
      break;
    default:
      append_replacement(lua, matcher, from, to);
      return true;
  }
  const bool replaced = lua_toboolean(lua, -1) != 0;
  if (replaced) {
    if (lua_isstring(lua, -1) == 0) {
      luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
    }
    const std::string_view text = view_at(lua, -1);
    charge(lua, copy_steps(text.size()));
    out.append(text);
  } else {
    out.append(from, static_cast<std::size_t>(to - from));
  }
  lua_pop(lua, 1);
  return replaced;
}

int string_gsub(lua_State* lua) {
  const std::string_view text = check_string(lua, 1);
  const std::string_view pattern = check_string(lua, 2);
  const int type = lua_type(lua, 3);
  luaL_argexpected(
      lua,
      type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
      "string/function/table");
  const lua_Integer count_max = luaL_optinteger(lua, 4, static_cast<lua_Integer>(text.size()) + 1);
  TextBuffer& out = state_of(lua).text;
  const std::size_t mark = out.mark();
  charge(lua, copy_steps(text.size()));
  Matcher matcher{lua, text, pattern};
  const char* at = matcher.begin();
  const char* last_end = nullptr;
  lua_Integer count = 0;
  bool changed = false;
  while (count < count_max) {
    const char* const stop = matcher.match(at);
    if (stop != nullptr && stop != last_end) {
      ++count;
      changed = append_value(lua, matcher, at, stop) || changed;
      at = last_end = stop;
    } else if (at < matcher.end()) {
      out.append(*at++);
    } else {
      break;
    }
    if (matcher.anchored()) break;
  }
  matcher.settle();
  if (changed) {
    out.append(at, static_cast<std::size_t>(matcher.end() - at));
    out.push(lua, mark);
  } else {
    out.cut(mark);
    lua_pushvalue(lua, 1);
  }
  lua_pushinteger(lua, count);
  return 2;
}

// string.format

struct Conversion {
  char form[32];  // "%-08.3f"-like, ready for snprintf once the length modifier is in
  std::size_t bytes;
  bool has_precision;
  int width;
};

/// Reads flags, width and precision; returns the position of the conversion letter.
std::size_t read_conversion(lua_State* lua, std::string_view format, std::size_t at,
                            Conversion& out) {
  const std::size_t start = at;
  while (at < format.size() && std::strchr("-+ #0", format[at]) != nullptr && format[at] != '\0') {
    ++at;
  }
  bool ok = at - start <= 5;
  out.width = 0;
  const auto digits = [&] {
    int value = 0;
    for (int i = 0; at < format.size() && std::isdigit(static_cast<unsigned char>(format[at])) != 0;
         ++i, ++at) {
      ok = ok && i < 2;
      value = ok ? value * 10 + (format[at] - '0') : 0;
    }
    return value;
  };
  out.width = digits();
  out.has_precision = at < format.size() && format[at] == '.';
  if (out.has_precision) {
    ++at;
    digits();
  }
  if (!ok) luaL_error(lua, "invalid conversion '%%%s' to 'format'", format.data() + start);
  out.form[0] = '%';
  std::memcpy(out.form + 1, format.data() + start, at - start);
  out.bytes = 1 + at - start;
  return at;
}

[[noreturn]] void refuse_conversion(lua_State* lua, const Conversion& conversion, char letter) {
  char shown[sizeof(conversion.form) + 2];
  std::memcpy(shown, conversion.form, conversion.bytes);
  shown[conversion.bytes] = letter;
  shown[conversion.bytes + 1] = '\0';
  luaL_error(lua, "invalid conversion '%s' to 'format'", shown);
  __builtin_unreachable();
}

/// Completes the form with the length modifier and letter; refuses flags the letter does not take.
const char* finish_form(lua_State* lua, Conversion& conversion, char letter, const char* flags,
                        bool precision, const char* modifier) {
  for (std::size_t i = 1; i < conversion.bytes; ++i) {
    const char c = conversion.form[i];
    if (c >= '1' && c <= '9') break;
    if (c == '.') break;
    if (std::strchr(flags, c) == nullptr) refuse_conversion(lua, conversion, letter);
  }
  if (conversion.has_precision && !precision) refuse_conversion(lua, conversion, letter);
  std::size_t at = conversion.bytes;
  for (; *modifier != '\0'; ++modifier) conversion.form[at++] = *modifier;
  conversion.form[at++] = letter;
  conversion.form[at] = '\0';
  return conversion.form;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"  // the forms are checked by finish_form
template <class T>
void append_formatted(lua_State* lua, const char* form, T value) {
  constexpr std::size_t kRoom = 512;  // "%99.99f" of the largest double takes 410
  TextBuffer& out = state_of(lua).text;
  const int written = std::snprintf(out.reserve(kRoom), kRoom, form, value);
  out.commit(static_cast<std::size_t>(std::clamp(written, 0, static_cast<int>(kRoom) - 1)));
}

void append_padded_string(lua_State* lua, Conversion& conversion, int argument) {
  TextBuffer& out = state_of(lua).text;
  push_text(lua, argument);
  const std::string_view text = view_at(lua, -1);
  charge(lua, copy_steps(text.size()));
  if (conversion.bytes == 1) {
    out.append(text);
  } else {
    luaL_argcheck(lua, text.find('\0') == std::string_view::npos, argument,
                  "string contains zeros");
    const char* const form = finish_form(lua, conversion, 's', "-", true, "");
    if (!conversion.has_precision && text.size() >= 100) {
      out.append(text);  // no width reaches that far
    } else {
      append_formatted(lua, form, text.data());
    }
  }
  lua_pop(lua, 1);
}
#pragma GCC diagnostic pop

void append_quoted_string(lua_State* lua, std::string_view text) {
  TextBuffer& out = state_of(lua).text;
  charge(lua, byte_steps(text.size()));
  out.append('"');
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\' || c == '\n') {
      out.append('\\');
      out.append(c);
    } else if (std::iscntrl(static_cast<unsigned char>(c)) != 0) {
      const bool digit_follows =
          i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1])) != 0;
      append_formatted(lua, digit_follows ? "\\%03d" : "\\%d",
                       static_cast<int>(static_cast<unsigned char>(c)));
    } else {
      out.append(c);
    }
  }
  out.append('"');
}

void append_literal(lua_State* lua, int argument) {
  TextBuffer& out = state_of(lua).text;
  switch (lua_type(lua, argument)) {
    case LUA_TSTRING:
      append_quoted_string(lua, view_at(lua, argument));
      break;
    case LUA_TNUMBER:
      if (lua_isinteger(lua, argument) == 0) {
        const lua_Number number = lua_tonumber(lua, argument);
        if (number == HUGE_VAL) {
          out.append("1e9999");
        } else if (number == -HUGE_VAL) {
          out.append("-1e9999");
        } else if (number != number) {
          out.append("(0/0)");
        } else {
          append_formatted(lua, "%a", number);
        }
      } else {
        const lua_Integer number = lua_tointeger(lua, argument);
        append_formatted(lua, number == LUA_MININTEGER ? "0x%llx" : "%lld", number);
      }
      break;
    case LUA_TNIL:
    case LUA_TBOOLEAN:
      push_text(lua, argument);
      out.append(view_at(lua, -1));
      lua_pop(lua, 1);
      break;
    default:
      luaL_argerror(lua, argument, "value has no literal form");
  }
}

void append_conversion(lua_State* lua, Conversion& conversion, char letter, int argument) {
  switch (letter) {
    case 'c':
      append_formatted(lua, finish_form(lua, conversion, letter, "-", false, ""),
                       static_cast<int>(luaL_checkinteger(lua, argument)));
      break;
    case 'd':
    case 'i':
      append_formatted(lua, finish_form(lua, conversion, letter, "-+0 ", true, "ll"),
                       luaL_checkinteger(lua, argument));
      break;
    case 'o':
    case 'x':
    case 'X':
      append_formatted(lua, finish_form(lua, conversion, letter, "-#0", true, "ll"),
                       luaL_checkinteger(lua, argument));
      break;
    case 'a':
    case 'A':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      append_formatted(lua, finish_form(lua, conversion, letter, "-+#0 ", true, ""),
                       luaL_checknumber(lua, argument));
      break;
    case 'q':
      if (conversion.bytes != 1) luaL_error(lua, "specifier '%%q' cannot have modifiers");
      append_literal(lua, argument);
      break;
    case 's':
      append_padded_string(lua, conversion, argument);
      break;
    default:  // among them %p, which would show addresses
      refuse_conversion(lua, conversion, letter);
  }
}

int string_format(lua_State* lua) {
  const int arguments = lua_gettop(lua);
  const std::string_view format = check_string(lua, 1);
  TextBuffer& out = state_of(lua).text;
  const std::size_t mark = out.mark();
  charge(lua, byte_steps(format.size()));
  int argument = 1;
  for (std::size_t at = 0; at < format.size();) {
    const std::size_t percent = std::min(format.find('%', at), format.size());
    out.append(format.substr(at, percent - at));
    if (percent == format.size()) break;
    at = percent + 1;
    if (at < format.size() && format[at] == '%') {
      out.append('%');
      ++at;
      continue;
    }
    if (++argument > arguments) luaL_argerror(lua, argument, "no value");
    charge(lua, 2);
    Conversion conversion;
    at = read_conversion(lua, format, at, conversion);
    append_conversion(lua, conversion, at < format.size() ? format[at] : '\0', argument);
    ++at;
  }
  out.push(lua, mark);
  return 1;
}

/// Lua's own string.pack and friends are linear in format and result; sizes in the format are kept
/// small so that the result is too.
int packing(lua_State* lua) {
  const std::string_view format = check_string(lua, 1);
  luaL_argcheck(lua, format.size() <= kPackFormatBytesMax, 1, "format too long");
  int digits = 0;
  for (const char c : format) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    luaL_argcheck(lua, digits < kPackDigitsMax, 1, "size too large");
  }
  charge(lua, 4 * format.size());
  if (lua_type(lua, 2) == LUA_TSTRING) charge(lua, copy_steps(lua_rawlen(lua, 2)));
  return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

}  // namespace

void push_string_library(lua_State* lua) {
  static constexpr luaL_Reg kFunctions[] = {
      {"byte", string_byte},     {"char", string_char},       {"find", string_find},
      {"format", string_format}, {"gmatch", string_gmatch},   {"gsub", string_gsub},
      {"len", string_len},       {"lower", string_lower},     {"match", string_match},
      {"rep", string_rep},       {"reverse", string_reverse}, {"sub", string_sub},
      {"upper", string_upper},   {nullptr, nullptr}};
  // Lua's own library first: it makes the metatable that gives strings arithmetic.
  lua_pushcfunction(lua, luaopen_string);
  lua_call(lua, 0, 1);
  luaL_newlib(lua, kFunctions);
  for (const char* const name : {"pack", "packsize", "unpack"}) {
    lua_getfield(lua, -2, name);
    lua_pushcclosure(lua, packing, 1);
    lua_setfield(lua, -2, name);
  }
  lua_replace(lua, -2);
  // Methods of strings come from the same functions; nobody sees the metatable.
  lua_pushliteral(lua, "");
  lua_getmetatable(lua, -1);
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 2);
}

}  // namespace cachee::daemon::script
