// The terminal: is there one, how large is it, colours, talk on stderr, a progress bar, keys as
// they are pressed. All calls to termios are here.
#pragma once

#include <termios.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace cachee::cli {

[[nodiscard]] bool is_terminal(int fd) noexcept;
/// A terminal that shows colours, and a user who did not set NO_COLOR.
[[nodiscard]] bool wants_colour(int fd) noexcept;

struct TerminalSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};
[[nodiscard]] TerminalSize terminal_size(int fd) noexcept;

/// One line on stderr that begins with "cachee: ".
void say_line(std::string_view text);
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_line(fmt::format(format, std::forward<Args>(args)...));
}

/// A bar on stderr while something long runs; nothing at all when stderr is no terminal.
class Progress {
 public:
  /// total 0: not known; the bar is then a count.
  Progress(std::string label, std::uint64_t total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // wipes the bar
  void update(std::uint64_t done);

 private:
  std::string label_;
  std::uint64_t total_;
  bool enabled_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_{};
};

/// Text of the bar, without the control characters around it.
[[nodiscard]] std::string progress_text(std::string_view label, std::uint64_t done,
                                        std::uint64_t total, std::size_t width);

/// Keys one by one and unechoed, until destroyed.
class KeyMode {
 public:
  explicit KeyMode(int fd);
  KeyMode(const KeyMode&) = delete;
  KeyMode& operator=(const KeyMode&) = delete;
  ~KeyMode();
  /// The key pressed within that time; nullopt when none was. '\0' when the terminal went away.
  [[nodiscard]] std::optional<char> wait_key(std::chrono::milliseconds timeout) const noexcept;

 private:
  int fd_;
  std::optional<termios> saved_{};
};

/// While one of these lives, SIGINT and SIGTERM set requested() instead of ending the process.
class StopSignal {
 public:
  StopSignal() noexcept;
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();
  [[nodiscard]] static bool requested() noexcept;
};

}  // namespace cachee::cli
