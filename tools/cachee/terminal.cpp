#include "terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{100};
constexpr std::size_t kProgressColumnsMax = 72;

volatile std::sig_atomic_t g_stop_requested = 0;

// A signal that comes between somebody's look at the request and the read() or sleep behind it ends neither: the
// alarm comes again each second and does.
extern "C" void request_stop(int) {
  g_stop_requested = 1;
  alarm(1);
}

void write_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

bool is_terminal(int fd) noexcept { return isatty(fd) == 1; }

bool wants_colour(int fd) noexcept {
  const char* const off = std::getenv("NO_COLOR");
  const char* const type = std::getenv("TERM");
  return is_terminal(fd) && (off == nullptr || *off == '\0') &&
         (type == nullptr || std::string_view{type} != "dumb");
}

TerminalSize terminal_size(int fd) noexcept {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

void say_line(std::string_view text) { write_stderr(fmt::format("cachee: {}\n", text)); }

std::string progress_text(std::string_view label, std::uint64_t done, std::uint64_t total,
                          std::size_t width) {
  if (total == 0) return fmt::format("{} {}", label, format_count(done));
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const std::string percent = fmt::format(" {:3.0f}%", share * 100);
  const std::size_t taken = columns(label) + percent.size() + 3;
  const std::size_t room = width > taken + 1 ? width - taken : 1;
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(room));
  return fmt::format("{} [{}{}]{}", label, std::string(filled, '#'),
                     std::string(room - filled, '.'), percent);
}

Progress::Progress(std::string label, std::uint64_t total)
    : label_{std::move(label)}, total_{total}, enabled_{is_terminal(STDERR_FILENO)} {}

Progress::~Progress() {
  if (drawn_) write_stderr("\r\x1b[K");
}

void Progress::update(std::uint64_t done) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kProgressInterval;
  const std::size_t width = std::min(terminal_size(STDERR_FILENO).columns - 1, kProgressColumnsMax);
  write_stderr("\r\x1b[K" + progress_text(label_, done, total_, width));
  drawn_ = true;
}

KeyMode::KeyMode(int fd) : fd_{fd} {
  termios mode{};
  if (tcgetattr(fd, &mode) != 0) return;
  saved_ = mode;
  mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  mode.c_cc[VMIN] = 0;
  mode.c_cc[VTIME] = 0;
  tcsetattr(fd, TCSANOW, &mode);
}

KeyMode::~KeyMode() {
  if (saved_) tcsetattr(fd_, TCSANOW, &*saved_);
}

std::optional<char> KeyMode::wait_key(std::chrono::milliseconds timeout) const noexcept {
  pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
  if (poll(&waiting, 1, static_cast<int>(timeout.count())) <= 0) return std::nullopt;
  char key = '\0';
  return read(fd_, &key, 1) == 1 ? key : '\0';
}

StopSignal::StopSignal() noexcept {
  g_stop_requested = 0;
  struct sigaction action {};
  action.sa_handler = request_stop;  // without SA_RESTART: a sleep ends at once
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGALRM, &action, nullptr);
}

StopSignal::~StopSignal() {
  alarm(0);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGALRM, SIG_DFL);
}

bool StopSignal::requested() noexcept { return g_stop_requested != 0; }

}  // namespace cachee::cli
