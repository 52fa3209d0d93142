// What the tests of the cachee command share: the program as a process, a folder of its own, and a
// RESP server in the test that answers as it is told.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cachee::cli::test {

using Words = std::vector<std::string>;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = "/tmp/cachee-tools-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error{"mkdtemp"};
    path_ = path;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }

 private:
  std::string path_{};
};

inline std::string read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_file(const std::string& path, const std::string& text) {
  std::ofstream{path, std::ios::binary} << text;
}

struct Done {
  int code = -1;  // exit code, or 1000 + signal
  std::string out{};
  std::string err{};
};

/// Runs the cachee command with its own runtime and state folder. A run of more than `seconds` is
/// killed and has the code 1009.
inline Done run_cachee(const TemporaryFolder& folder, const Words& words,
                       const std::string& input = "", unsigned seconds = 20) {
  std::signal(SIGPIPE, SIG_IGN);  // a program may end without reading its input
  std::array<std::array<int, 2>, 3> pipes{};
  for (auto& ends : pipes) {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error{"pipe"};
  }
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipes[0][0], STDIN_FILENO);
    dup2(pipes[1][1], STDOUT_FILENO);
    dup2(pipes[2][1], STDERR_FILENO);
    setenv("CACHEE_RUNTIME_DIR", folder.path().c_str(), 1);
    setenv("CACHEE_STATE_DIR", folder.path("state").c_str(), 1);
    setenv("HOME", folder.path().c_str(), 1);
    setenv("TZ", "UTC", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    alarm(seconds);  // SIGALRM is its default in the program that follows
    std::vector<char*> arguments{const_cast<char*>("cachee")};
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(CACHEE_PROGRAM, arguments.data());
    _exit(127);
  }
  close(pipes[0][0]);
  close(pipes[1][1]);
  close(pipes[2][1]);
  Done done;
  // The input is fed while the output is read: neither pipe may fill up and stop the other.
  std::thread feeder{[&] {
    std::size_t sent = 0;
    while (sent < input.size()) {
      const ssize_t count = write(pipes[0][1], input.data() + sent, input.size() - sent);
      if (count <= 0) break;
      sent += static_cast<std::size_t>(count);
    }
    close(pipes[0][1]);
  }};
  std::array<pollfd, 2> waiting{{{.fd = pipes[1][0], .events = POLLIN, .revents = 0},
                                 {.fd = pipes[2][0], .events = POLLIN, .revents = 0}}};
  std::array<char, 65536> buffer{};
  for (int open = 2; open > 0;) {
    poll(waiting.data(), waiting.size(), -1);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      const ssize_t count = read(waiting[i].fd, buffer.data(), buffer.size());
      if (count > 0) {
        (i == 0 ? done.out : done.err).append(buffer.data(), static_cast<std::size_t>(count));
      } else {
        waiting[i].fd = -1;
        --open;
      }
    }
  }
  feeder.join();
  close(pipes[1][0]);
  close(pipes[2][0]);
  int status = 0;
  waitpid(child, &status, 0);
  done.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return done;
}

/// Answers RESP commands on `<folder>/<name>.sock`. The answer is RESP text; "" closes the
/// connection.
class RespServer {
 public:
  using Answer = std::function<std::string(const Words& words)>;

  RespServer(const TemporaryFolder& folder, Answer answer, const std::string& name = "default")
      : path_{folder.path(name + ".sock")}, answer_{std::move(answer)} {
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(listener_, 8) != 0) {
      throw std::runtime_error{"cannot listen at " + path_};
    }
    thread_ = std::jthread{[this](const std::stop_token& stop) { serve(stop); }};
  }
  RespServer(const RespServer&) = delete;
  RespServer& operator=(const RespServer&) = delete;
  ~RespServer() {
    thread_.request_stop();
    thread_.join();
    close(listener_);
    unlink(path_.c_str());
  }

  /// Every command that came, in order.
  [[nodiscard]] std::vector<Words> received() const {
    const std::lock_guard lock{mutex_};
    return received_;
  }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd waiting{.fd = listener_, .events = POLLIN, .revents = 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) continue;
      talk(connection, stop);
      close(connection);
    }
  }

  void talk(int connection, const std::stop_token& stop) {
    std::string buffer;
    std::array<char, 65536> bytes{};
    while (!stop.stop_requested()) {
      pollfd waiting{.fd = connection, .events = POLLIN, .revents = 0};
      if (poll(&waiting, 1, 20) <= 0) continue;
      const ssize_t count = read(connection, bytes.data(), bytes.size());
      if (count <= 0) return;
      buffer.append(bytes.data(), static_cast<std::size_t>(count));
      Words words;
      while (take_command(buffer, words)) {
        {
          const std::lock_guard lock{mutex_};
          received_.push_back(words);
        }
        const std::string answer = answer_(words);
        if (answer.empty()) return;
        std::size_t sent = 0;
        while (sent < answer.size()) {
          const ssize_t done =
              send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
          if (done <= 0) return;
          sent += static_cast<std::size_t>(done);
        }
      }
    }
  }

  /// Takes one whole "*N $len bytes ..." off the front.
  static bool take_command(std::string& buffer, Words& words) {
    words.clear();
    std::size_t at = 0;
    const auto number = [&](char kind, std::size_t& value) {
      const std::size_t end = buffer.find("\r\n", at);
      if (end == std::string::npos || buffer[at] != kind) return false;
      value = std::stoul(buffer.substr(at + 1, end - at - 1));
      at = end + 2;
      return true;
    };
    std::size_t count = 0;
    if (buffer.empty() || !number('*', count)) return false;
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t length = 0;
      if (at >= buffer.size() || !number('$', length) || buffer.size() < at + length + 2)
        return false;
      words.push_back(buffer.substr(at, length));
      at += length + 2;
    }
    buffer.erase(0, at);
    return true;
  }

  std::string path_;
  Answer answer_;
  int listener_ = -1;
  mutable std::mutex mutex_{};
  std::vector<Words> received_{};
  std::jthread thread_{};
};

// RESP answers.
inline std::string bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}
inline std::string integer(long long number) { return ":" + std::to_string(number) + "\r\n"; }
inline std::string array(const std::vector<std::string>& items) {
  std::string text = "*" + std::to_string(items.size()) + "\r\n";
  for (const auto& item : items) text += item;
  return text;
}
inline const std::string kOk = "+OK\r\n";

}  // namespace cachee::cli::test
