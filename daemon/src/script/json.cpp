// JSON for scripts.
//
// Encoding: a table whose keys are exactly 1..n is an array, any other table an object; the empty
// table is {}. Keys are strings or integers and come in a fixed order (integers ascending, then
// strings by bytes), so equal tables make equal text. Integers stay integers, floats keep a point
// or exponent; NaN and infinities are refused, as are functions, cycles and more than kDepthMax
// levels. Strings are UTF-8; bytes that are not become U+FFFD, so that every reader takes the text.
// `cachee.json.null` is null. Metatables are not asked.
//
// Decoding: null is nil (a hole in arrays). Numbers without point and exponent are integers while
// they fit 64 bits. Of a repeated key the last counts.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr int kDepthMax = 100;

/// Bytes of the UTF-8 sequence at the front; 0 when it is none.
std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  // The second byte is narrower where overlong forms, surrogates or code points past U+10FFFF
  // begin.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

bool needs_escape(unsigned char c) noexcept { return c < ' ' || c == '"' || c == '\\'; }

class Encoder {
 public:
  explicit Encoder(lua_State* lua) noexcept : lua_{lua}, out_{state_of(lua).text} {}

  void append_value(int index) {
    charge(lua_, 1);
    switch (lua_type(lua_, index)) {
      case LUA_TNIL:
        out_.append("null");
        return;
      case LUA_TBOOLEAN:
        out_.append(lua_toboolean(lua_, index) != 0 ? "true" : "false");
        return;
      case LUA_TNUMBER:
        append_number(index);
        return;
      case LUA_TSTRING:
        append_string(view_at(lua_, index));
        return;
      case LUA_TTABLE:
        if (is_event_object(lua_, index)) {
          push_event_table(lua_);
          append_table(lua_gettop(lua_));
          lua_pop(lua_, 1);
        } else {
          append_table(lua_absindex(lua_, index));
        }
        return;
      case LUA_TLIGHTUSERDATA:
        out_.append("null");
        return;
      default:
        luaL_error(lua_, "cannot encode a %s as JSON", luaL_typename(lua_, index));
    }
  }

 private:
  void append_integer(lua_Integer number) {
    constexpr std::size_t kRoom = 24;
    char* const at = out_.reserve(kRoom);
    out_.commit(static_cast<std::size_t>(std::to_chars(at, at + kRoom, number).ptr - at));
  }

  void append_number(int index) {
    if (lua_isinteger(lua_, index) != 0) {
      append_integer(lua_tointeger(lua_, index));
      return;
    }
    const lua_Number number = lua_tonumber(lua_, index);
    if (!std::isfinite(number)) luaL_error(lua_, "cannot encode %f as JSON", number);
    constexpr std::size_t kRoom = 40;
    char* const at = out_.reserve(kRoom);
    const auto bytes = static_cast<std::size_t>(std::to_chars(at, at + kRoom, number).ptr - at);
    const bool whole = std::string_view{at, bytes}.find_first_of(".e") == std::string_view::npos;
    out_.commit(bytes);
    if (whole) out_.append(".0");  // 1.0 comes back as a float
  }

  void append_string(std::string_view text) {
    charge(lua_, byte_steps(text.size()));
    out_.append('"');
    while (!text.empty()) {
      std::size_t plain = 0;
      std::size_t sequence = 1;
      while (plain < text.size() && !needs_escape(static_cast<unsigned char>(text[plain]))) {
        sequence = utf8_sequence(text.substr(plain));
        if (sequence == 0) break;
        plain += sequence;
      }
      out_.append(text.substr(0, plain));
      text.remove_prefix(plain);
      if (text.empty()) break;
      if (sequence == 0) {
        out_.append("\xEF\xBF\xBD");
      } else {
        append_escape(text.front());
      }
      text.remove_prefix(1);
      sequence = 1;
    }
    out_.append('"');
  }

  void append_escape(char c) {
    constexpr std::string_view kShort = "\"\\\b\f\n\r\t";
    constexpr std::string_view kLetters = "\"\\bfnrt";
    out_.append('\\');
    const std::size_t known = kShort.find(c);
    if (known != std::string_view::npos) {
      out_.append(kLetters[known]);
      return;
    }
    constexpr std::string_view kHex = "0123456789abcdef";
    out_.append("u00");
    out_.append(kHex[static_cast<unsigned char>(c) >> 4]);
    out_.append(kHex[static_cast<unsigned char>(c) & 15]);
  }

  void append_table(int table) {
    const void* const identity = lua_topointer(lua_, table);
    for (int i = 0; i < depth_; ++i) {
      if (ancestors_[i] == identity) luaL_error(lua_, "cannot encode a table that contains itself");
    }
    if (depth_ == kDepthMax) luaL_error(lua_, "cannot encode more than %d levels", kDepthMax);
    luaL_checkstack(lua_, 6, "JSON");
    ancestors_[depth_++] = identity;
    const std::size_t mark = state_of(lua_).json_keys.size();
    const lua_Integer items = collect_keys(table);
    if (items > 0) {
      append_array(table, items);
    } else {
      append_object(table, mark);
    }
    state_of(lua_).json_keys.resize(mark);
    --depth_;
  }

  void make_room(std::vector<JsonKey>& keys) {
    constexpr std::size_t kFirst = 16;
    const std::size_t more = std::max(kFirst, keys.capacity());
    state_of(lua_).json_held.add(more * sizeof(JsonKey));
    if (!guarded([&] { keys.reserve(keys.capacity() + more); })) state_of(lua_).meter.raise(Limit::memory);
  }

  /// Number of items when the table is an array; else 0, with its keys noted in order.
  lua_Integer collect_keys(int table) {
    std::vector<JsonKey>& keys = state_of(lua_).json_keys;
    const std::size_t mark = keys.size();
    lua_Integer largest = 0;
    bool array = true;
    bool any_integer = false;
    for (lua_pushnil(lua_); lua_next(lua_, table) != 0; lua_pop(lua_, 1)) {
      charge(lua_, 2);
      JsonKey key{nullptr, 0, 0};
      if (lua_isinteger(lua_, -2) != 0) {
        key.number = lua_tointeger(lua_, -2);
        any_integer = true;
        array = array && key.number >= 1;
        largest = std::max(largest, key.number);
      } else if (lua_type(lua_, -2) == LUA_TSTRING) {
        key.text = lua_tolstring(lua_, -2, &key.bytes);  // lives as long as the table has it
        array = false;
      } else {
        luaL_error(lua_, "cannot encode a table with a %s as key", luaL_typename(lua_, -2));
      }
      if (keys.size() == keys.capacity()) make_room(keys);
      keys.push_back(key);
    }
    const std::size_t count = keys.size() - mark;
    if (array && count > 0 && largest == static_cast<lua_Integer>(count)) {
      keys.resize(mark);
      return largest;
    }
    charge(lua_, count * static_cast<std::size_t>(std::bit_width(count)) / 4);
    std::sort(keys.begin() + static_cast<std::ptrdiff_t>(mark), keys.end(), comes_before);
    if (any_integer) refuse_twins(table, mark);
    return 0;
  }

  static bool comes_before(const JsonKey& a, const JsonKey& b) noexcept {
    if (a.text == nullptr || b.text == nullptr) {
      return a.text == nullptr && (b.text != nullptr || a.number < b.number);
    }
    return std::string_view{a.text, a.bytes} < std::string_view{b.text, b.bytes};
  }

  /// 1 and "1" would be one key of the object.
  void refuse_twins(int table, std::size_t mark) {
    const std::vector<JsonKey>& keys = state_of(lua_).json_keys;
    for (std::size_t i = mark; i < keys.size() && keys[i].text == nullptr; ++i) {
      lua_pushfstring(lua_, "%I", static_cast<LUAI_UACINT>(keys[i].number));
      if (lua_rawget(lua_, table) != LUA_TNIL) {
        luaL_error(lua_, "cannot encode a table that has %I as a number and as a string",
                   static_cast<LUAI_UACINT>(keys[i].number));
      }
      lua_pop(lua_, 1);
      charge(lua_, 4);
    }
  }

  void append_array(int table, lua_Integer items) {
    out_.append('[');
    for (lua_Integer i = 1; i <= items; ++i) {
      if (i > 1) out_.append(',');
      lua_rawgeti(lua_, table, i);
      append_value(-1);
      lua_pop(lua_, 1);
    }
    out_.append(']');
  }

  void append_object(int table, std::size_t mark) {
    const std::vector<JsonKey>& keys = state_of(lua_).json_keys;
    const std::size_t end = keys.size();
    out_.append('{');
    for (std::size_t i = mark; i < end; ++i) {
      if (i > mark) out_.append(',');
      const JsonKey key = keys[i];  // deeper levels grow the vector
      if (key.text != nullptr) {
        append_string({key.text, key.bytes});
        out_.append(':');
        lua_pushlstring(lua_, key.text, key.bytes);
        lua_rawget(lua_, table);
      } else {
        out_.append('"');
        append_integer(key.number);
        out_.append("\":");
        lua_rawgeti(lua_, table, key.number);
      }
      append_value(-1);
      lua_pop(lua_, 1);
    }
    out_.append('}');
  }

  lua_State* lua_;
  TextBuffer& out_;
  int depth_ = 0;
  const void* ancestors_[kDepthMax];
};

class Decoder {
 public:
  Decoder(lua_State* lua, std::string_view text) noexcept : lua_{lua}, text_{text} {}

  void push_document() {
    push_value();
    skip_blanks();
    if (at_ != text_.size()) fail("one value expected");
  }

 private:
  [[noreturn]] void fail(const char* what) {
    luaL_error(lua_, "not JSON: %s at byte %I", what,
               static_cast<LUAI_UACINT>(std::min(at_, text_.size()) + 1));
    __builtin_unreachable();
  }
  [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() noexcept {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  bool take(char c) noexcept {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) noexcept {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  void push_value() {
    charge(lua_, 2);
    skip_blanks();
    switch (peek()) {
      case '{':
        push_object();
        return;
      case '[':
        push_array();
        return;
      case '"':
        push_string();
        return;
      case 't':
        if (!take_word("true")) fail("unknown word");
        lua_pushboolean(lua_, 1);
        return;
      case 'f':
        if (!take_word("false")) fail("unknown word");
        lua_pushboolean(lua_, 0);
        return;
      case 'n':
        if (!take_word("null")) fail("unknown word");
        lua_pushnil(lua_);
        return;
      default:
        push_number();
    }
  }

  void enter() {
    if (++depth_ > kDepthMax) fail("too many levels");
    luaL_checkstack(lua_, 6, "JSON");
    ++at_;
  }

  void push_array() {
    enter();
    lua_newtable(lua_);
    if (!take(']')) {
      lua_Integer index = 0;
      do {
        push_value();
        lua_rawseti(lua_, -2, ++index);
      } while (take(','));
      if (!take(']')) fail("',' or ']' expected");
    }
    --depth_;
  }

  void push_object() {
    enter();
    lua_newtable(lua_);
    if (!take('}')) {
      do {
        skip_blanks();
        if (peek() != '"') fail("a string as key expected");
        push_string();
        if (!take(':')) fail("':' expected");
        push_value();
        lua_rawset(lua_, -3);
      } while (take(','));
      if (!take('}')) fail("',' or '}' expected");
    }
    --depth_;
  }

  void push_string() {
    const std::size_t start = ++at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= ' ') {
      ++at_;
    }
    charge(lua_, byte_steps(at_ - start));
    if (peek() == '"') {
      lua_pushlstring(lua_, text_.data() + start, at_ - start);
      ++at_;
      return;
    }
    TextBuffer& out = state_of(lua_).text;
    const std::size_t mark = out.mark();
    out.append(text_.substr(start, at_ - start));
    for (;;) {
      if (at_ >= text_.size()) fail("string without end");
      const char c = text_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < ' ') fail("control character in a string");
      ++at_;
      charge(lua_, 1);
      if (c == '\\') {
        append_escaped(out);
      } else {
        out.append(c);
      }
    }
    ++at_;
    out.push(lua_, mark);
  }

  void append_escaped(TextBuffer& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kBytes = "\"\\/\b\f\n\r\t";
    const char c = peek();
    const std::size_t known = c == '\0' ? std::string_view::npos : kLetters.find(c);
    if (known != std::string_view::npos) {
      ++at_;
      out.append(kBytes[known]);
      return;
    }
    if (c != 'u') fail("unknown escape");
    ++at_;
    std::uint32_t code = read_hex4();
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
      at_ += 2;
      const std::uint32_t low = read_hex4();
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else {
        append_code(out, code);
        code = low;
      }
    }
    append_code(out, code);
  }

  std::uint32_t read_hex4() {
    if (text_.size() - at_ < 4) fail("four hex digits expected");
    std::uint32_t code = 0;
    const char* const first = text_.data() + at_;
    if (std::from_chars(first, first + 4, code, 16).ptr != first + 4) {
      fail("four hex digits expected");
    }
    at_ += 4;
    return code;
  }

  static void append_code(TextBuffer& out, std::uint32_t code) {
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;  // half of a pair
    const auto add = [&out](std::uint32_t byte) { out.append(static_cast<char>(byte)); };
    if (code < 0x80) {
      add(code);
    } else if (code < 0x800) {
      add(0xc0 | code >> 6);
      add(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      add(0xe0 | code >> 12);
      add(0x80 | (code >> 6 & 0x3f));
      add(0x80 | (code & 0x3f));
    } else {
      add(0xf0 | code >> 18);
      add(0x80 | (code >> 12 & 0x3f));
      add(0x80 | (code >> 6 & 0x3f));
      add(0x80 | (code & 0x3f));
    }
  }

  void skip_digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    if (at_ == start) fail("a value expected");
    charge(lua_, byte_steps(at_ - start));
  }

  void push_number() {
    const std::size_t start = at_;
    if (peek() == '-') ++at_;
    const std::size_t digits = at_;
    skip_digits();
    if (text_[digits] == '0' && at_ - digits > 1) fail("number with a leading zero");
    bool whole = true;
    if (peek() == '.') {
      whole = false;
      ++at_;
      skip_digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      skip_digits();
    }
    const char* const first = text_.data() + start;
    const char* const last = text_.data() + at_;
    lua_Integer integer = 0;
    if (whole && std::from_chars(first, last, integer).ec == std::errc{}) {
      lua_pushinteger(lua_, integer);
      return;
    }
    double number = 0;
    if (std::from_chars(first, last, number).ec != std::errc{}) fail("number out of range");
    lua_pushnumber(lua_, number);
  }

  lua_State* lua_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

void json_append(lua_State* lua, int index) {
  state_of(lua).json_keys.clear();
  Encoder{lua}.append_value(index);
}

int json_encode(lua_State* lua) {
  luaL_checkany(lua, 1);
  State& state = state_of(lua);
  const std::size_t mark = state.text.mark();
  json_append(lua, 1);
  state.text.push(lua, mark);
  return 1;
}

int json_decode(lua_State* lua) {
  std::size_t bytes = 0;
  const char* const text = luaL_checklstring(lua, 1, &bytes);
  Decoder{lua, {text, bytes}}.push_document();
  return 1;
}

}  // namespace cachee::daemon::script
