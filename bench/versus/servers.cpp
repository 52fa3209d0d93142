// Redis and memcached over unix sockets, one request at a time: what a service sees that asks a
// cache server on its own machine and waits for the answer. The servers are started here, private
// and without persistence, and end with the store.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "versus/store.hpp"
#include "workload/connection.hpp"
#include "workload/keeper.hpp"

namespace cachee::bench {
namespace {

std::size_t number(std::string_view digits) {
  std::size_t value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec != std::errc{}) die("a server answered " + std::string{digits});
  return value;
}

class RedisSession final : public Session {
 public:
  explicit RedisSession(const std::string& path) : connection_{path} {}
  std::size_t get(std::string_view key, char* out, std::size_t out_bytes) override {
    request_ = "*2\r\n$3\r\nGET\r\n";
    append_word(request_, key);
    connection_.send(request_);
    const std::string_view head = connection_.line();
    if (head == "$-1") return 0;
    if (!head.starts_with('$')) die("redis answered " + std::string{head});
    const std::size_t bytes = number(head.substr(1));
    const std::string_view value = connection_.bytes(bytes + 2);
    std::memcpy(out, value.data(), std::min(out_bytes, bytes));
    return bytes;
  }
  void set(std::string_view key, std::string_view value) override {
    request_ = "*3\r\n$3\r\nSET\r\n";
    append_word(request_, key);
    append_word(request_, value);
    connection_.send(request_);
    if (connection_.line() != "+OK") die("redis refused a SET");
  }

 private:
  Connection connection_;
  std::string request_{};
};

class MemcachedSession final : public Session {
 public:
  explicit MemcachedSession(const std::string& path) : connection_{path} {}
  std::size_t get(std::string_view key, char* out, std::size_t out_bytes) override {
    request_ = "get ";
    request_ += key;
    request_ += "\r\n";
    connection_.send(request_);
    const std::string_view head = connection_.line();  // VALUE <key> <flags> <bytes>
    if (head == "END") return 0;
    const std::size_t bytes = number(head.substr(head.rfind(' ') + 1));
    const std::string_view value = connection_.bytes(bytes + 2);
    std::memcpy(out, value.data(), std::min(out_bytes, bytes));
    if (connection_.line() != "END") die("memcached answered no END");
    return bytes;
  }
  void set(std::string_view key, std::string_view value) override {
    request_ = "set ";
    request_ += key;
    request_ += " 0 0 ";
    request_ += std::to_string(value.size());
    request_ += "\r\n";
    request_ += value;
    request_ += "\r\n";
    connection_.send(request_);
    if (connection_.line() != "STORED") die("memcached refused a set");
  }

 private:
  Connection connection_;
  std::string request_{};
};

template <class SessionType>
class ServerStore final : public Store {
 public:
  ServerStore(std::string name, std::vector<std::string> words, std::string folder, std::string path)
      : name_{std::move(name)}, folder_{std::move(folder)}, path_{std::move(path)} {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int null = open_null();
      dup2(null, STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ServerStore(const ServerStore&) = delete;
  ServerStore& operator=(const ServerStore&) = delete;
  ~ServerStore() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  /// Waits until it listens; false when the server ended instead.
  bool wait_ready() {
    for (int tries = 0; tries < 500; ++tries) {
      if (Connection::is_listening(path_)) return true;
      if (waitpid(pid_, nullptr, WNOHANG) != 0) {
        pid_ = -1;
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    return false;
  }
  std::string name() const override { return name_; }
  bool shared() const override { return true; }
  std::unique_ptr<Session> open() override { return std::make_unique<SessionType>(path_); }
  std::size_t round_operations() const override { return std::size_t{1} << 14; }

 private:
  static int open_null() { return ::open("/dev/null", O_WRONLY | O_CLOEXEC); }
  std::string name_;
  std::string folder_;
  std::string path_;
  pid_t pid_ = -1;
};

std::string make_folder() {
  char folder[] = "/tmp/cachee-bench-XXXXXX";
  if (mkdtemp(folder) == nullptr) die("mkdtemp in /tmp");
  return folder;
}

template <class StoreType>
std::unique_ptr<Store> started(std::unique_ptr<StoreType> store, const char* program, std::string& why_not) {
  if (store->wait_ready()) return store;
  why_not = std::string{program} + " did not start: is it installed?";
  return nullptr;
}

}  // namespace

std::unique_ptr<Store> make_redis(std::string& why_not) {
  const std::string folder = make_folder();
  const std::string path = folder + "/redis.sock";
  return started(std::make_unique<ServerStore<RedisSession>>(
                     "Redis, unix socket",
                     std::vector<std::string>{"redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                                              "--appendonly", "no", "--dir", folder},
                     folder, path),
                 "redis-server", why_not);
}

std::unique_ptr<Store> make_memcached(std::string& why_not) {
  const std::string folder = make_folder();
  const std::string path = folder + "/memcached.sock";
  std::vector<std::string> words{"memcached", "-s", path, "-m", "1024", "-t", "2"};
  if (geteuid() == 0) words.insert(words.end(), {"-u", "root"});
  return started(std::make_unique<ServerStore<MemcachedSession>>("memcached, unix socket", words, folder, path),
                 "memcached", why_not);
}

}  // namespace cachee::bench
