// A cacheed of a benchmark's own: started in a folder of its own, asked over its socket, stopped with its
// segment and folder.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/inspect.hpp>

#include "workload/connection.hpp"
#include "workload/keeper.hpp"

namespace cachee::bench {

/// CPU time that a process has used so far, all its threads together.
[[nodiscard]] inline TimeNs cpu_ns(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) die("a process that is measured is gone");
  return TimeNs{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

class Supervised {
 public:
  using Words = std::vector<std::string>;

  Supervised(const std::string& program, Words options) {
    static int count = 0;
    name_ = "bench-events-" + std::to_string(getpid()) + "-" + std::to_string(++count);
    char folder[] = "/tmp/cachee-bench-XXXXXX";
    if (mkdtemp(folder) == nullptr) die("mkdtemp in /tmp");
    folder_ = folder;
    Words words{program, "--name", name_, "--fresh", "--log-level", "error", "--state-dir", folder_, "--runtime-dir", folder_};
    words.insert(words.end(), options.begin(), options.end());
    pid_ = fork();
    if (pid_ == 0) exec(std::move(words));
    // The folder goes with us, however we end.
    const std::string socket = folder_ + "/" + name_ + ".sock";
    wait_for("cacheed does not start: see " + folder_, [&] {
      if (waitpid(pid_, nullptr, WNOHANG) != 0) die(program + " ended at once; is it built?");
      return Connection::is_listening(socket);
    });
    connection_ = std::make_unique<Connection>(socket);
    executors_ = children_of(pid_);
    if (executors_.empty()) die("cacheed has no executors");
  }
  Supervised(const Supervised&) = delete;
  Supervised& operator=(const Supervised&) = delete;
  ~Supervised() {
    kill(pid_, SIGKILL);  // its executors go with it
    waitpid(pid_, nullptr, 0);
    static_cast<void>(remove_segment(name_));
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] Cache open(bool prefault = false) const {
    return must(Cache::open({.name = name_, .prefault = prefault}), "attach");
  }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] const std::vector<pid_t>& executors() const noexcept { return executors_; }
  [[nodiscard]] std::string state_path(const std::string& file) const { return folder_ + "/" + name_ + "/" + file; }

  /// One command; anything but an error is well. Returns what the answer has in it, lists laid flat.
  Words ask(const Words& words) {
    std::string request = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words) append_word(request, word);
    connection_->send(request);
    Words answer;
    read_answer(answer);
    return answer;
  }
  void register_trigger(const std::string& pattern, const std::string& lua) {
    ask({"TRIGGER", "REGISTER", pattern, "ON_WRITE", "NAME", pattern, lua});
  }
  /// A handler that fails would be measured for what it does not do.
  void expect_all_ok(const std::string& trigger, std::size_t runs) {
    const Words stats = ask({"TRIGGER", "STATS", trigger});
    const auto ok = std::find(stats.begin(), stats.end(), "ok");
    if (ok == stats.end() || ok + 1 == stats.end() || *(ok + 1) != std::to_string(runs)) {
      die("of " + std::to_string(runs) + " runs of " + trigger + " not all went well");
    }
  }

  /// Executors that do not run: events pile up, and nothing else shares the writer's time.
  void stop_executors() const { signal_executors(SIGSTOP); }
  void continue_executors() const { signal_executors(SIGCONT); }
  [[nodiscard]] TimeNs executors_cpu_ns() const {
    TimeNs sum = 0;
    for (const pid_t pid : executors_) sum += cpu_ns(pid);
    return sum;
  }
  /// Every event is handled and released.
  void wait_drained(const Cache& cache) const {
    wait_for("the events are not handled", [&] {
      const SegmentInfo info = must(segment_info(cache), "info");
      return info.ring.head == info.ring.tail;
    });
  }

 private:
  void read_answer(Words& out) {
    const std::string line{connection_->line()};
    const auto length = [&] { return std::strtoll(line.c_str() + 1, nullptr, 10); };
    switch (line.empty() ? '-' : line.front()) {
      case '-': die("cacheed answered " + line);
      case '$':
        if (length() < 0) return;
        out.emplace_back(connection_->bytes(static_cast<std::size_t>(length()) + 2));
        out.back().resize(out.back().size() - 2);
        return;
      case '*':
        for (auto left = length(); left > 0; --left) read_answer(out);
        return;
      default: out.push_back(line.substr(1));
    }
  }
  template <class Condition>
  static void wait_for(const std::string& what, Condition&& condition) {
    constexpr std::chrono::seconds kPatience{60};
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) die(what);
      std::this_thread::sleep_for(std::chrono::microseconds{500});
    }
  }
  [[noreturn]] static void exec(Words words) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  static std::vector<pid_t> children_of(pid_t parent) {
    const std::string pid = std::to_string(parent);
    std::ifstream list{"/proc/" + pid + "/task/" + pid + "/children"};
    std::vector<pid_t> children;
    for (pid_t child = 0; list >> child;) children.push_back(child);
    return children;
  }
  void signal_executors(int signal) const {
    for (const pid_t pid : executors_) {
      if (kill(pid, signal) != 0) die("an executor is gone");
    }
  }

  std::string name_;
  std::string folder_;
  pid_t pid_ = -1;
  std::unique_ptr<Connection> connection_{};
  std::vector<pid_t> executors_{};
};

}  // namespace cachee::bench
