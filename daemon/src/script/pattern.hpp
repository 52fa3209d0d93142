// Lua patterns with a bound on work.
//
// The same language as Lua's own matcher ("Patterns" in the Lua 5.4 manual). Lua's cannot be
// stopped while it backtracks, because no hook runs inside C; this one charges the run's meter for
// every comparison and is stopped like any loop in Lua.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

struct lua_State;

namespace cachee::daemon::script {

class Matcher {
 public:
  Matcher(lua_State* lua, std::string_view subject, std::string_view pattern) noexcept;

  [[nodiscard]] bool anchored() const noexcept { return anchored_; }
  [[nodiscard]] const char* begin() const noexcept { return begin_; }
  [[nodiscard]] const char* end() const noexcept { return end_; }
  /// End of the match that begins at `at`; nullptr when there is none. May raise.
  [[nodiscard]] const char* match(const char* at);
  /// Pushes the captures of the last match; the whole match when there are none and it is given.
  int push_captures(const char* from, const char* to);
  /// Pushes one of them. `index` 0 is the whole match where there are no captures.
  void push_capture(int index, const char* from, const char* to);
  [[nodiscard]] int level() const noexcept { return level_; }
  /// Reports the rest of the work to the meter.
  void settle();

 private:
  static constexpr int kCapturesMax = 32;
  static constexpr int kDepthMax = 200;  // of C recursion
  static constexpr std::uint32_t kWorkUnit = 256;
  static constexpr std::ptrdiff_t kUnclosed = -1;
  static constexpr std::ptrdiff_t kPosition = -2;
  struct Capture {
    const char* start;
    std::ptrdiff_t bytes;
  };

  void work(std::size_t amount) {
    work_ += amount;
    if (work_ >= kWorkUnit) settle();
  }
  const char* run(const char* s, const char* p);
  const char* run_item(const char* s, const char* p, const char* item_end, char suffix);
  const char* expand_most(const char* s, const char* p, const char* item_end);
  const char* expand_least(const char* s, const char* p, const char* item_end);
  const char* open_capture(const char* s, const char* p, std::ptrdiff_t kind);
  const char* close_capture(const char* s, const char* p);
  const char* match_balance(const char* s, const char* p);
  const char* match_back_reference(const char* s, char digit);
  bool match_frontier(const char* s, const char* set, const char* set_end);
  const char* item_end(const char* p);
  bool single(const char* s, const char* p, const char* item_end);
  bool in_set(unsigned char c, const char* set, const char* closing);
  int closed_capture(char digit);

  lua_State* lua_;
  const char* begin_;
  const char* end_;
  const char* pattern_;
  const char* pattern_end_;
  bool anchored_ = false;
  int level_ = 0;
  int depth_ = 0;
  std::size_t work_ = 0;
  Capture captures_[kCapturesMax];
};

/// True when no character of the pattern is special.
[[nodiscard]] bool is_plain_pattern(std::string_view pattern) noexcept;

}  // namespace cachee::daemon::script
