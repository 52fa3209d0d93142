// The cachee command with a terminal of its own.
#pragma once

#include <gtest/gtest.h>
#include <pty.h>

#include <chrono>
#include <csignal>

#include "support.hpp"

namespace cachee::cli::test {

class Terminal {
 public:
  Terminal(const TemporaryFolder& folder, const Words& words) {
    winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    child_ = forkpty(&fd_, nullptr, nullptr, &size);
    if (child_ == 0) {
      setenv("CACHEE_RUNTIME_DIR", folder.path().c_str(), 1);
      setenv("HOME", folder.path().c_str(), 1);
      setenv("TERM", "xterm", 1);
      setenv("LC_ALL", "C.UTF-8", 1);
      std::vector<char*> arguments{const_cast<char*>("cachee")};
      for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
      arguments.push_back(nullptr);
      execv(CACHEE_PROGRAM, arguments.data());
      _exit(127);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(fd_);
  }

  void type(const std::string& keys) {
    EXPECT_EQ(write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /// Waits until the screen has shown `text` since the last call; returns what came.
  std::string wait_for(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    for (;;) {
      const std::size_t found = screen_.find(text);
      if (found != std::string::npos) {
        std::string seen = screen_.substr(0, found + text.size());
        screen_.erase(0, seen.size());
        return seen;
      }
      if (std::chrono::steady_clock::now() > deadline || !read_some()) {
        ADD_FAILURE() << "waited for \"" << text << "\"; the terminal showed:\n" << screen_;
        return screen_;
      }
    }
  }

  int wait_exit() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "the program did not end; the terminal showed:\n" << screen_;
        return -1;
      }
      read_some();
    }
    child_ = -1;
    while (read_some()) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

  [[nodiscard]] const std::string& rest() const noexcept { return screen_; }

 private:
  /// False at the end of the terminal.
  bool read_some() {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 50) <= 0) return child_ > 0;
    std::array<char, 4096> buffer{};
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    if (count <= 0) return false;
    screen_.append(buffer.data(), static_cast<std::size_t>(count));
    return true;
  }

  int fd_ = -1;
  pid_t child_ = -1;
  std::string screen_{};
};

}  // namespace cachee::cli::test
