#include "script/pattern.hpp"

#include <cctype>
#include <cstring>

#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

constexpr char kEscape = '%';
constexpr std::size_t kStepsShift = 2;  // four comparisons are worth one instruction

bool in_class(unsigned char c, char name) noexcept {
  bool in = false;
  switch (std::tolower(static_cast<unsigned char>(name))) {
    case 'a':
      in = std::isalpha(c) != 0;
      break;
    case 'c':
      in = std::iscntrl(c) != 0;
      break;
    case 'd':
      in = std::isdigit(c) != 0;
      break;
    case 'g':
      in = std::isgraph(c) != 0;
      break;
    case 'l':
      in = std::islower(c) != 0;
      break;
    case 'p':
      in = std::ispunct(c) != 0;
      break;
    case 's':
      in = std::isspace(c) != 0;
      break;
    case 'u':
      in = std::isupper(c) != 0;
      break;
    case 'w':
      in = std::isalnum(c) != 0;
      break;
    case 'x':
      in = std::isxdigit(c) != 0;
      break;
    case 'z':
      in = c == 0;
      break;  // of Lua 5.1, still known to Lua 5.4
    default:
      return static_cast<unsigned char>(name) == c;
  }
  return std::isupper(static_cast<unsigned char>(name)) != 0 ? !in : in;
}

}  // namespace

bool is_plain_pattern(std::string_view pattern) noexcept {
  return pattern.find_first_of("^$*+?.([%-") == std::string_view::npos;
}

Matcher::Matcher(lua_State* lua, std::string_view subject, std::string_view pattern) noexcept
    : lua_{lua},
      begin_{subject.data()},
      end_{subject.data() + subject.size()},
      pattern_{pattern.data()},
      pattern_end_{pattern.data() + pattern.size()} {
  if (!pattern.empty() && pattern.front() == '^') {
    anchored_ = true;
    ++pattern_;
  }
}

void Matcher::settle() {
  const std::size_t steps = 1 + (work_ >> kStepsShift);
  work_ = 0;
  charge(lua_, steps);
}

const char* Matcher::match(const char* at) {
  level_ = 0;
  depth_ = 0;
  return run(at, pattern_);
}

const char* Matcher::run(const char* s, const char* p) {
  if (++depth_ > kDepthMax) luaL_error(lua_, "pattern too complex");
  for (;;) {
    work(1);
    if (p == pattern_end_) break;
    if (*p == '(') {
      const bool position = p + 1 < pattern_end_ && p[1] == ')';
      s = open_capture(s, position ? p + 2 : p + 1, position ? kPosition : kUnclosed);
      break;
    }
    if (*p == ')') {
      s = close_capture(s, p + 1);
      break;
    }
    if (*p == '$' && p + 1 == pattern_end_) {
      if (s != end_) s = nullptr;
      break;
    }
    if (*p == kEscape && p + 1 < pattern_end_) {
      const char next = p[1];
      if (next == 'b') {
        s = match_balance(s, p + 2);
        if (s == nullptr) break;
        p += 4;
        continue;
      }
      if (next == 'f') {
        p += 2;
        if (p == pattern_end_ || *p != '[') luaL_error(lua_, "missing '[' after '%%f' in pattern");
        const char* const set_end = item_end(p);
        if (!match_frontier(s, p, set_end - 1)) {
          s = nullptr;
          break;
        }
        p = set_end;
        continue;
      }
      if (std::isdigit(static_cast<unsigned char>(next)) != 0) {
        s = match_back_reference(s, next);
        if (s == nullptr) break;
        p += 2;
        continue;
      }
    }
    const char* const stop = item_end(p);
    const char suffix = stop < pattern_end_ ? *stop : '\0';
    if (suffix == '?' || suffix == '+' || suffix == '*' || suffix == '-') {
      // An optional item that is not there costs no recursion: the usual case of long subjects.
      if (suffix == '?' && !single(s, p, stop)) {
        p = stop + 1;
        continue;
      }
      s = run_item(s, p, stop, suffix);
      break;
    }
    if (!single(s, p, stop)) {
      s = nullptr;
      break;
    }
    ++s;
    p = stop;
  }
  --depth_;
  return s;
}

const char* Matcher::run_item(const char* s, const char* p, const char* stop, char suffix) {
  switch (suffix) {
    case '?': {
      const char* const with = run(s + 1, stop + 1);
      return with != nullptr ? with : run(s, stop + 1);
    }
    case '+':
      return single(s, p, stop) ? expand_most(s + 1, p, stop) : nullptr;
    case '*':
      return expand_most(s, p, stop);
    default:
      return expand_least(s, p, stop);
  }
}

const char* Matcher::expand_most(const char* s, const char* p, const char* stop) {
  std::ptrdiff_t count = 0;
  while (single(s + count, p, stop)) ++count;
  for (; count >= 0; --count) {
    const char* const rest = run(s + count, stop + 1);
    if (rest != nullptr) return rest;
  }
  return nullptr;
}

const char* Matcher::expand_least(const char* s, const char* p, const char* stop) {
  for (;;) {
    const char* const rest = run(s, stop + 1);
    if (rest != nullptr) return rest;
    if (!single(s, p, stop)) return nullptr;
    ++s;
  }
}

const char* Matcher::open_capture(const char* s, const char* p, std::ptrdiff_t kind) {
  if (level_ >= kCapturesMax) luaL_error(lua_, "too many captures");
  captures_[level_] = {s, kind};
  ++level_;
  const char* const rest = run(s, p);
  if (rest == nullptr) --level_;
  return rest;
}

const char* Matcher::close_capture(const char* s, const char* p) {
  int open = level_ - 1;
  while (open >= 0 && captures_[open].bytes != kUnclosed) --open;
  if (open < 0) luaL_error(lua_, "invalid pattern capture");
  captures_[open].bytes = s - captures_[open].start;
  const char* const rest = run(s, p);
  if (rest == nullptr) captures_[open].bytes = kUnclosed;
  return rest;
}

const char* Matcher::match_balance(const char* s, const char* p) {
  if (pattern_end_ - p < 2) luaL_error(lua_, "malformed pattern (missing arguments to '%%b')");
  if (s == end_ || *s != p[0]) return nullptr;
  int depth = 1;
  for (const char* at = s + 1; at < end_; ++at) {
    work(1);
    if (*at == p[1]) {
      if (--depth == 0) return at + 1;
    } else if (*at == p[0]) {
      ++depth;
    }
  }
  return nullptr;
}

bool Matcher::match_frontier(const char* s, const char* set, const char* closing) {
  const char before = s == begin_ ? '\0' : s[-1];
  const char after = s == end_ ? '\0' : *s;
  return !in_set(static_cast<unsigned char>(before), set, closing) &&
         in_set(static_cast<unsigned char>(after), set, closing);
}

int Matcher::closed_capture(char digit) {
  const int index = digit - '1';
  if (index < 0 || index >= level_ || captures_[index].bytes == kUnclosed) {
    return luaL_error(lua_, "invalid capture index %%%d", index + 1);
  }
  return index;
}

const char* Matcher::match_back_reference(const char* s, char digit) {
  const Capture& capture = captures_[closed_capture(digit)];
  const std::ptrdiff_t bytes = capture.bytes;
  if (bytes == kPosition) return nullptr;  // a place has no text to find again
  work(1 + static_cast<std::size_t>(bytes >> 4));
  if (end_ - s < bytes || std::memcmp(capture.start, s, static_cast<std::size_t>(bytes)) != 0) {
    return nullptr;
  }
  return s + bytes;
}

const char* Matcher::item_end(const char* p) {
  const char* const start = p;
  const char first = *p++;
  if (first == kEscape) {
    if (p == pattern_end_) luaL_error(lua_, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (first == '[') {
    if (p < pattern_end_ && *p == '^') ++p;
    do {  // a ']' in the first place stands for itself
      if (p == pattern_end_) luaL_error(lua_, "malformed pattern (missing ']')");
      const char c = *p++;
      if (c == kEscape && p < pattern_end_) ++p;
    } while (p == pattern_end_ || *p != ']');
    ++p;
    work(static_cast<std::size_t>(p - start));
  }
  return p;
}

bool Matcher::in_set(unsigned char c, const char* set, const char* closing) {
  work(static_cast<std::size_t>(closing - set));
  const bool negated = set[1] == '^';
  const char* p = set + (negated ? 2 : 1);
  for (; p < closing; ++p) {
    if (*p == kEscape) {
      ++p;
      if (in_class(c, *p)) return !negated;
    } else if (p + 2 < closing && p[1] == '-') {
      const auto low = static_cast<unsigned char>(*p);
      p += 2;
      if (low <= c && c <= static_cast<unsigned char>(*p)) return !negated;
    } else if (static_cast<unsigned char>(*p) == c) {
      return !negated;
    }
  }
  return negated;
}

bool Matcher::single(const char* s, const char* p, const char* stop) {
  if (s >= end_) return false;
  work(1);
  const auto c = static_cast<unsigned char>(*s);
  switch (*p) {
    case '.':
      return true;
    case kEscape:
      return in_class(c, p[1]);
    case '[':
      return in_set(c, p, stop - 1);
    default:
      return static_cast<unsigned char>(*p) == c;
  }
}

void Matcher::push_capture(int index, const char* from, const char* to) {
  if (index >= level_) {
    if (index != 0) luaL_error(lua_, "invalid capture index %%%d", index + 1);
    lua_pushlstring(lua_, from, static_cast<std::size_t>(to - from));
    return;
  }
  const Capture& capture = captures_[index];
  if (capture.bytes == kUnclosed) luaL_error(lua_, "unfinished capture");
  if (capture.bytes == kPosition) {
    lua_pushinteger(lua_, capture.start - begin_ + 1);
  } else {
    lua_pushlstring(lua_, capture.start, static_cast<std::size_t>(capture.bytes));
  }
}

int Matcher::push_captures(const char* from, const char* to) {
  const int count = level_ == 0 && from != nullptr ? 1 : level_;
  luaL_checkstack(lua_, count, "too many captures");
  for (int i = 0; i < count; ++i) push_capture(i, from, to);
  return count;
}

}  // namespace cachee::daemon::script
