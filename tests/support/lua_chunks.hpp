// Random Lua chunks, made from Lua's grammar and from what a handler can reach, so that most of
// them compile and do something: loops, closures, metatables, to-be-closed variables, odd numbers,
// every function of the sandbox with arguments of any kind.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace cachee::test {

class LuaChunks {
 public:
  explicit LuaChunks(std::uint64_t seed) : random_{seed} {}

  std::string chunk() {
    labels_ = 0;
    return block(kDepth, 1 + below(6)) +
           (below(4) == 0 ? "return " + expression(kDepth) + "\n" : "");
  }
  /// What remains of a text after some bytes were flipped, cut out, doubled or brought in from
  /// another.
  std::string mutate(std::string text, std::string_view other) {
    for (std::size_t n = 1 + below(4); n > 0 && !text.empty(); --n) {
      const std::size_t at = below(text.size());
      const std::size_t bytes = std::min<std::size_t>(1 + below(12), text.size() - at);
      switch (below(4)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, bytes);
          break;
        case 2:
          text.insert(at, text.substr(at, bytes));
          break;
        default: {
          if (other.empty()) break;
          const std::size_t from = below(other.size());
          text.insert(at, other.substr(from, 1 + below(40)));
        }
      }
    }
    return text;
  }
  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>{0, bound - 1}(random_);
  }

 private:
  static constexpr int kDepth = 4;
  static constexpr std::array<std::string_view, 5> kNames{"a", "b", "c", "t", "f"};

  template <std::size_t N>
  std::string any(const std::array<std::string_view, N>& of) {
    return std::string{of[below(N)]};
  }
  std::string name() { return any(kNames); }

  std::string block(int depth, std::size_t statements) {
    std::string text;
    // Most errors are caught, or few chunks would come to their second statement.
    while (statements-- > 0) {
      const std::string next = statement(depth);
      text += below(3) == 0 ? next + "\n" : "pcall(function() " + next + " end)\n";
    }
    return text;
  }
  std::string statement(int depth) {
    if (depth <= 0) return "local " + name() + " = " + expression(0);
    const auto inner = [&] { return block(depth - 1, 1 + below(3)); };
    const auto value = [&] { return expression(depth - 1); };
    switch (below(20)) {
      case 0:
        return "if " + value() + " then " + inner() + " else " + inner() + " end";
      case 1:
        return "while " + value() + " do " + inner() + (below(3) == 0 ? "" : " break") + " end";
      case 2:
        return "for i = " + number() + ", " + number() + ", " + number() + " do " + inner() +
               " end";
      case 3:
        return "for k, v in pairs(" + value() + ") do " + inner() + " end";
      case 4:
        return "for k in " + value() + " do " + inner() + " end";
      case 5:
        return "repeat " + inner() + " until " + value();
      case 6:
        return "local function f(...) " + inner() + " return " + value() + ", ... end";
      case 7:
        return "pcall(function() " + inner() + " end)";
      case 8:
        return "xpcall(function() " + inner() + " end, function(e) " + inner() + " return e end)";
      case 9:
        return "error(" + value() + ")";
      case 10:
        return name() + " = " + value();
      case 11:
        return "t = {} t[" + value() + "] = " + value();
      case 12:
        return "do local x <close> = setmetatable({}, {__close = function() " + inner() +
               " end}) " + inner() + " end";
      case 13: {
        const std::string label = "l" + std::to_string(labels_++);
        return below(8) == 0 ? "::" + label + ":: " + inner() + " goto " + label
                             : "goto " + label + " ::" + label + "::";
      }
      case 14:
        return "local " + name() + " <const> = " + value();
      case 15:
      case 16:
        return effect(depth - 1);
      default:
        return "local " + name() + " = " + value();
    }
  }
  std::string expression(int depth) {
    if (depth <= 0) return atom();
    const auto inner = [&] { return expression(depth - 1); };
    switch (below(14)) {
      case 0:
        return "(" + inner() + " " + any(kOperators) + " " + inner() + ")";
      case 1:
        return "(" + any(kUnary) + " " + inner() + ")";
      case 2:
        return "{" + inner() + ", " + name() + " = " + inner() + ", [" + inner() +
               "] = " + inner() + "}";
      case 3:
        return "(function(...) " + block(depth - 1, 1) + " return " + inner() + " end)";
      case 4:
        return "(" + inner() + ")(" + inner() + ", " + inner() + ")";
      case 5:
        return "(" + inner() + ")[" + inner() + "]";
      case 6:
        return "setmetatable({" + inner() + "}, {" + any(kMetamethods) + " = function(x, y) " +
               block(depth - 1, 1) + " return " + inner() + " end, " + any(kMetamethods) + " = " +
               inner() + "})";
      case 7:
      case 8:
      case 9:
        return any(kFunctions) + "(" + inner() + ", " + inner() + ", " + inner() + ")";
      case 10:
        return "(" + string() + "):" + any(kMethods) + "(" + inner() + ", " + inner() + ")";
      default:
        return atom();
    }
  }
  std::string effect(int depth) {
    const std::string key = below(6) == 0   ? "event.key .. '!'"
                            : below(3) == 0 ? expression(depth)
                                            : "'out:" + std::to_string(below(9)) + "'";
    switch (below(12)) {
      case 0:
        return "cachee.set(" + key + ", " + expression(depth) + ", {ttl = " + number() +
               ", cost = " + number() + "})";
      case 1:
        return "cachee.set(" + key + ", tostring(" + expression(depth) + "))";
      case 2:
        return "cachee.del(" + key + ")";
      case 3:
        return "cachee.incr('n:1', " + number() + ")";
      case 4:
        return "cachee.log(" + (below(3) == 0 ? expression(depth) : std::string{"'random'"}) +
               ", {x = " + expression(depth) + "})";
      case 5:
        return "cachee.expire(" + key + ", " + number() + ")";
      case 6:
        return "cachee.once(" + expression(depth) + ", " + number() + ")";
      case 7:
        return "cachee.invalidate(" + key + ")";
      case 8:
        return "cachee.depends_on(" + key + ", " + expression(depth) + ")";
      case 9:
        return "cachee.webhook('http://127.0.0.1:9/', " + expression(depth) +
               ", {timeout = " + number() + "})";
      case 10:
        return "cachee.warm(" + key + ", 'http://127.0.0.1:9/', {ttl = " + number() + "})";
      default:
        return "cachee.metric('m', " + number() + ")";
    }
  }
  std::string atom() {
    switch (below(8)) {
      case 0:
        return "nil";
      case 1:
        return "true";
      case 2:
        return number();
      case 3:
        return string();
      case 4:
        return "event." + any(kFields);
      case 5:
        return any(kFunctions);
      case 6:
        return "{}";
      default:
        return name();
    }
  }
  std::string number() { return any(kNumbers); }
  std::string string() { return any(kStrings); }

  static constexpr std::array<std::string_view, 21> kOperators{
      "+",  "-", "*",  "/",   "//", "%", "^", "..", "==", "~=", "<",
      "<=", ">", ">=", "and", "or", "&", "|", "~",  "<<", ">>"};
  static constexpr std::array<std::string_view, 4> kUnary{"-", "not", "#", "~"};
  static constexpr std::array<std::string_view, 16> kMetamethods{
      "__index", "__newindex", "__call", "__concat", "__len",   "__eq",   "__lt",    "__le",
      "__unm",   "__tostring", "__gc",   "__mode",   "__close", "__name", "__pairs", "__metatable"};
  static constexpr std::array<std::string_view, 52> kFunctions{"pairs",
                                                               "ipairs",
                                                               "next",
                                                               "select",
                                                               "type",
                                                               "tostring",
                                                               "tonumber",
                                                               "pcall",
                                                               "xpcall",
                                                               "assert",
                                                               "setmetatable",
                                                               "getmetatable",
                                                               "rawget",
                                                               "rawset",
                                                               "rawequal",
                                                               "rawlen",
                                                               "string.rep",
                                                               "string.find",
                                                               "string.match",
                                                               "string.gmatch",
                                                               "string.gsub",
                                                               "string.format",
                                                               "string.byte",
                                                               "string.char",
                                                               "string.sub",
                                                               "string.pack",
                                                               "string.unpack",
                                                               "string.len",
                                                               "table.concat",
                                                               "table.insert",
                                                               "table.move",
                                                               "table.unpack",
                                                               "table.sort",
                                                               "table.remove",
                                                               "table.pack",
                                                               "math.floor",
                                                               "math.max",
                                                               "math.random",
                                                               "math.tointeger",
                                                               "utf8.char",
                                                               "utf8.codepoint",
                                                               "utf8.len",
                                                               "cachee.get",
                                                               "cachee.exists",
                                                               "cachee.ttl",
                                                               "cachee.hash",
                                                               "cachee.now",
                                                               "cachee.mget",
                                                               "cachee.json.encode",
                                                               "cachee.json.decode",
                                                               "load",
                                                               "os.execute"};
  static constexpr std::array<std::string_view, 8> kMethods{"rep",  "find",  "gsub",   "format",
                                                            "byte", "upper", "gmatch", "sub"};
  static constexpr std::array<std::string_view, 12> kFields{
      "key",     "value",   "old_value", "metadata",  "type",    "id",
      "attempt", "version", "origin",    "timestamp", "nothing", "chain"};
  static constexpr std::array<std::string_view, 14> kNumbers{"0",
                                                             "1",
                                                             "-1",
                                                             "2",
                                                             "7",
                                                             "100",
                                                             "0.5",
                                                             "1e308",
                                                             "math.huge",
                                                             "(0/0)",
                                                             "math.maxinteger",
                                                             "math.mininteger",
                                                             "2^53",
                                                             "1e9"};
  static constexpr std::array<std::string_view, 14> kStrings{"''",
                                                             "'x'",
                                                             "('ab'):rep(50)",
                                                             "'%d+'",
                                                             "'(.-)%1'",
                                                             "'%b()'",
                                                             "'[^%w]*'",
                                                             "'%'",
                                                             "'[a'",
                                                             "'%5.3s'",
                                                             "'\\0\\255'",
                                                             "'out:1'",
                                                             "('a*'):rep(20)",
                                                             "'{\"a\":[1,2,{}]}'"};

  std::mt19937_64 random_;
  std::size_t labels_ = 0;
};

}  // namespace cachee::test
