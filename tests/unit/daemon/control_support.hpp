// What the tests of the control socket share: a RESP client, an admin that remembers what it was
// told, and a server on a segment of its own.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "control/command_text.hpp"
#include "control/socket.hpp"
#include "core/trigger_options.hpp"

namespace cachee::daemon::testing {

/// One reply, of either protocol version.
struct Answer {
  char kind = '?';      // the first byte of the reply; '?': none came
  std::string text{};   // status, error, string, double, boolean
  std::int64_t integer = 0;
  bool null = false;
  std::vector<Answer> items{};  // arrays, sets; maps as name, value, name, value

  [[nodiscard]] bool is_error() const { return kind == '-'; }
  /// "+OK", "-ERR ...", ":1", "\"text\"", "nil", "[a, b]", "{a, b}".
  [[nodiscard]] std::string show() const {
    if (null) return "nil";
    if (kind == '+' || kind == '-' || kind == ',' || kind == '#') return kind + text;
    if (kind == ':') return ":" + std::to_string(integer);
    if (kind == '$' || kind == '=') return '"' + text + '"';
    if (kind == '?') return "(no reply)";
    std::string shown = kind == '*' ? "[" : kind == '%' ? "{" : "<";
    for (const Answer& item : items) {
      if (shown.size() > 1) shown += ", ";
      shown += item.show();
    }
    return shown + (kind == '*' ? "]" : kind == '%' ? "}" : ">");
  }
  /// The value behind a name of a record.
  [[nodiscard]] const Answer* field(std::string_view name) const {
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      if (items[i].text == name) return &items[i + 1];
    }
    return nullptr;
  }
};

inline std::string encode_request(const std::vector<std::string>& words) {
  std::string request = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    request += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return request;
}

/// A blocking connection. Every read has a deadline, so that a test fails instead of hanging.
class RespClient {
 public:
  explicit RespClient(int fd) : fd_{fd} {
    const timeval patience{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  }
  explicit RespClient(const std::string& path) : RespClient(connect_to(path)) {}
  RespClient(RespClient&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)}, buffer_{std::move(other.buffer_)} {}
  RespClient(const RespClient&) = delete;
  RespClient& operator=(const RespClient&) = delete;
  ~RespClient() { close(); }

  static int connect_to(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(),
                std::min(path.size(), sizeof(address.sun_path) - 1));
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      ::close(fd);
      return -1;
    }
    return fd;
  }

  [[nodiscard]] bool connected() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool send_raw(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void send(const std::vector<std::string>& words) { send_raw(encode_request(words)); }

  Answer read() {
    Answer answer;
    const auto line = read_line();
    if (!line || line->empty()) return answer;
    answer.kind = (*line)[0];
    const std::string rest = line->substr(1);
    if (answer.kind == '_') {
      answer.null = true;
      return answer;
    }
    if (answer.kind == '+' || answer.kind == '-' || answer.kind == ',' || answer.kind == '#') {
      answer.text = rest;
      return answer;
    }
    const std::int64_t number = std::strtoll(rest.c_str(), nullptr, 10);
    if (answer.kind == ':') {
      answer.integer = number;
      return answer;
    }
    if (number < 0) {
      answer.null = true;
      return answer;
    }
    if (answer.kind == '$' || answer.kind == '=') {
      const auto bytes = read_bytes(static_cast<std::size_t>(number) + 2);
      if (!bytes) return Answer{};
      answer.text = bytes->substr(0, static_cast<std::size_t>(number));
      return answer;
    }
    const std::int64_t items = answer.kind == '%' ? number * 2 : number;
    for (std::int64_t i = 0; i < items; ++i) {
      answer.items.push_back(read());
      if (answer.items.back().kind == '?') return Answer{};
    }
    return answer;
  }
  Answer operator()(const std::vector<std::string>& words) {
    send(words);
    return read();
  }
  /// A command line with Redis' quoting.
  Answer line(std::string_view text) { return (*this)(split_command_line(text).words); }
  std::string show(std::string_view text) { return line(text).show(); }
  /// True when the server has closed the connection; waits for it.
  bool at_end() {
    char byte = 0;
    return buffer_.empty() && ::recv(fd_, &byte, 1, 0) == 0;
  }

 private:
  bool fill() {
    char bytes[65536];
    const auto received = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (received <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(received));
    return true;
  }
  std::optional<std::string> read_line() {
    for (;;) {
      const std::size_t end = buffer_.find("\r\n", at_);
      if (end != std::string::npos) {
        std::string line = buffer_.substr(at_, end - at_);
        at_ = end + 2;
        trim();
        return line;
      }
      if (!fill()) return std::nullopt;
    }
  }
  std::optional<std::string> read_bytes(std::size_t bytes) {
    while (buffer_.size() - at_ < bytes) {
      if (!fill()) return std::nullopt;
    }
    std::string taken = buffer_.substr(at_, bytes);
    at_ += bytes;
    trim();
    return taken;
  }
  void trim() {
    if (at_ < buffer_.size() && at_ < (std::size_t{1} << 20)) return;
    buffer_.erase(0, at_);
    at_ = 0;
  }

  int fd_;
  std::string buffer_{};
  std::size_t at_ = 0;
};

/// Remembers what it was asked. A READ finds nothing, or is answered when the test says so, on its thread.
class FakeBroker : public GroupBroker {
 public:
  void read(GroupRead request, ReadDone done) override {
    if (!hold_reads) return done(std::vector<EventData>{});
    const std::lock_guard lock{mutex_};
    reads_.emplace_back(std::move(request), std::move(done));
    changed_.notify_all();
  }
  void settle(GroupSettle request, SettleDone done) override {
    const std::uint64_t count = request.ids.size();
    {
      const std::lock_guard lock{mutex_};
      settled_.push_back(std::move(request));
    }
    done(count);
  }
  void leave(std::uint64_t session) override {
    const std::lock_guard lock{mutex_};
    left_.push_back(session);
    changed_.notify_all();
  }
  Outcome<nlohmann::json> describe(std::string_view) override {
    return nlohmann::json{{"in_hand", 1}, {"consumers", nlohmann::json::array()}};
  }

  std::atomic<bool> hold_reads{false};

  /// The next READ; waits for it.
  std::optional<std::pair<GroupRead, ReadDone>> take_read() {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, std::chrono::seconds{10}, [this] { return !reads_.empty(); })) return std::nullopt;
    auto taken = std::move(reads_.front());
    reads_.pop_front();
    return taken;
  }
  std::vector<GroupSettle> settled() {
    const std::lock_guard lock{mutex_};
    return settled_;
  }
  bool wait_left(std::size_t count) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return left_.size() >= count; });
  }

 private:
  std::mutex mutex_{};
  std::condition_variable changed_{};
  std::deque<std::pair<GroupRead, ReadDone>> reads_{};
  std::vector<GroupSettle> settled_{};
  std::vector<std::uint64_t> left_{};
};

/// Keeps triggers in memory; compiles nothing, but refuses a source that says "syntax error". One that says "return
/// wait()" is not done with, neither its registration nor its test, before let_go().
class FakeAdmin : public TriggerAdmin {
 public:
  Outcome<void> register_triggers(std::vector<TriggerSpec> specs) override {
    for (const TriggerSpec& spec : specs) {
      if (spec.source == "return wait()") wait_for_leave();
      if (spec.source.find("syntax error") != std::string::npos) {
        return Failure{Errc::invalid_argument, "trigger '" + spec.name + "': 1: syntax error"};
      }
    }
    for (TriggerSpec& spec : specs) {
      const auto old = find(spec.name);
      if (old != triggers.end()) {
        *old = std::move(spec);
      } else {
        triggers.push_back(std::move(spec));
      }
    }
    return {};
  }
  std::vector<TriggerSpec> list_triggers() override { return triggers; }
  Outcome<TriggerSpec> find_trigger(std::string_view name) override {
    const auto spec = find(name);
    if (spec == triggers.end()) return missing(name);
    return *spec;
  }
  Outcome<void> remove_trigger(std::string_view name) override {
    const auto spec = find(name);
    if (spec == triggers.end()) return missing(name);
    triggers.erase(spec);
    return {};
  }
  Outcome<void> enable_trigger(std::string_view name, bool enabled) override {
    const auto spec = find(name);
    if (spec == triggers.end()) return missing(name);
    spec->enabled = enabled;
    return {};
  }
  Outcome<void> pause_trigger(std::string_view name, bool paused) override {
    const auto spec = find(name);
    if (spec == triggers.end()) return missing(name);
    spec->paused = paused;
    return {};
  }
  Outcome<nlohmann::json> trigger_stats(std::string_view name) override {
    if (find(name) == triggers.end()) return missing(name);
    return nlohmann::json{{"runs", 7}, {"slowest_ms", 1.5}, {"last_error", nullptr}};
  }
  Outcome<std::string> test_trigger(std::string_view name, std::string_view event) override {
    return "named " + std::string{name} + " " + std::string{event};
  }
  Outcome<std::string> test_source(std::string_view source, std::string_view event) override {
    if (source == "return wait()") wait_for_leave();
    return "source " + std::string{source} + " " + std::string{event};
  }
  Outcome<nlohmann::json> list_dead_letters(std::size_t count_max) override {
    nlohmann::json rows = nlohmann::json::array();
    for (std::size_t i = 0; i < std::min(count_max, letters.size()); ++i) {
      rows.push_back({{"id", letters[i]}, {"event", {{"key", "k"}}}});
    }
    return rows;
  }
  Outcome<nlohmann::json> show_dead_letter(std::string_view id) override {
    if (std::find(letters.begin(), letters.end(), id) == letters.end()) return missing(id);
    return nlohmann::json{{"id", id}, {"error", "boom"}};
  }
  Outcome<std::uint64_t> replay_dead_letters(std::optional<std::string_view> id) override {
    return take_letters(id);
  }
  Outcome<std::uint64_t> purge_dead_letters(std::optional<std::string_view> id) override {
    return take_letters(id);
  }
  Outcome<nlohmann::json> list_outbox(std::size_t) override { return nlohmann::json::array(); }
  Outcome<nlohmann::json> trace_chain(std::string_view chain) override {
    return nlohmann::json::array({{{"chain", chain}, {"step", 1}}});
  }
  Outcome<std::vector<TriggerAccount>> account() override { return accounts; }
  Outcome<std::string> log_path(std::string_view channel) override {
    return log_folder + "/" + std::string{channel} + ".jsonl";
  }
  Outcome<nlohmann::json> log_info(std::string_view channel) override {
    return nlohmann::json{{"path", log_folder + "/" + std::string{channel} + ".jsonl"}, {"settled_bytes", 7}, {"chain", "abc"}};
  }
  Outcome<std::vector<TriggerRuns>> trigger_runs() override { return std::vector<TriggerRuns>{}; }
  Outcome<nlohmann::json> slow_runs(std::size_t count_max) override {
    nlohmann::json rows = nlohmann::json::array();
    for (std::size_t n = slow_count; n > 0 && rows.size() < count_max; --n) {
      rows.push_back({{"id", n}, {"wall_ms", 1500}, {"run_us", 20 + n}, {"steps", 9}, {"trigger", "t"}, {"event", "write"}, {"key", "k"}, {"event_id", "e-1"}});
    }
    return rows;
  }
  Outcome<void> clear_slow_runs() override {
    slow_count = 0;
    return {};
  }
  std::size_t slow_count = 3;
  nlohmann::json server_stats() override { return {{"executors", 2}, {"outbox", "idle"}}; }
  GroupBroker& groups() noexcept override { return broker; }

  /// Whoever waits now or later goes on.
  void let_go() {
    const std::lock_guard lock{gate_mutex_};
    gone_ = true;
    gate_.notify_all();
  }
  void wait_for_leave() {
    std::unique_lock lock{gate_mutex_};
    ++waiting;
    gate_.wait_for(lock, std::chrono::seconds{10}, [this] { return gone_; });
    --waiting;
  }
  std::atomic<int> waiting{0};

  FakeBroker broker{};
  std::vector<TriggerSpec> triggers{};
  std::vector<std::string> letters{};
  std::vector<TriggerAccount> accounts{};
  std::string log_folder{};

 private:
  std::mutex gate_mutex_{};
  std::condition_variable gate_{};
  bool gone_ = false;

  std::vector<TriggerSpec>::iterator find(std::string_view name) {
    return std::find_if(triggers.begin(), triggers.end(),
                        [name](const TriggerSpec& spec) { return spec.name == name; });
  }
  static Failure missing(std::string_view name) {
    return {Errc::not_found, "no such trigger: " + std::string{name}};
  }
  Outcome<std::uint64_t> take_letters(std::optional<std::string_view> id) {
    const std::size_t before = letters.size();
    if (!id) {
      letters.clear();
    } else {
      letters.erase(std::remove(letters.begin(), letters.end(), *id), letters.end());
    }
    return static_cast<std::uint64_t>(before - letters.size());
  }
};

/// A folder that goes with the test; short, for a socket's path.
class TempFolder {
 public:
  TempFolder() {
    std::string text = "/tmp/cachee-XXXXXX";
    path_ = ::mkdtemp(text.data()) != nullptr ? text : "";
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_{};
};

/// A segment, its supervisor's face and a control server, in this process.
class TestServer {
 public:
  explicit TestServer(const SegmentOptions& wanted = {}, const ControlOptions& control = {}) {
    static int count = 0;
    SegmentOptions segment = wanted;
    segment.name = "control-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    if (wanted.memory_bytes == kSegmentBytesDefault) segment.memory_bytes = 32u << 20;
    segment.fresh = true;
    auto made = Maintainer::create(segment);
    if (!made) {
      problem = to_string(made.error());
      return;
    }
    keeper = std::make_unique<Maintainer>(*std::move(made));
    name = segment.name;
    auto cache = keeper->client(Role::client, "cacheed");
    if (!cache) {
      problem = to_string(cache.error());
      return;
    }
    options = control;
    if (options.socket_path.empty()) options.socket_path = folder.path() + "/s.sock";
    options.value_bytes_max = segment.value_bytes_max;
    ControlHooks hooks;
    hooks.list_settings = [this] {
      return std::vector<std::pair<std::string, std::string>>(settings.begin(), settings.end());
    };
    hooks.change_settings = [this](std::span<const SettingWords> changes) -> std::optional<SettingRefusal> {
      auto next = settings;
      for (std::size_t i = 0; i < changes.size(); ++i) {
        const auto setting = next.find(changes[i].name);
        if (setting == next.end()) return SettingRefusal{i, {Errc::not_found, "unknown"}};
        if (setting->first == "memory") return SettingRefusal{i, {Errc::unsupported, "memory needs a restart"}};
        setting->second = std::string{changes[i].value};
      }
      settings = std::move(next);
      return std::nullopt;
    };
    hooks.shutdown = [this] { shutdown_asked = true; };
    auto started = ControlServer::start(options, *std::move(cache), admin, std::move(hooks));
    if (!started) {
      problem = started.failure().text;
      return;
    }
    server = *std::move(started);
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() {
    server.reset();
    keeper.reset();
    if (!name.empty()) (void)remove_segment(name);
  }
  [[nodiscard]] RespClient client() const { return RespClient{options.socket_path}; }

  std::string problem{};  // why it did not start
  std::string name{};
  TempFolder folder{};
  ControlOptions options{};
  std::map<std::string, std::string> settings{{"log-level", "info"}, {"memory", "32MiB"}};
  bool shutdown_asked = false;
  FakeAdmin admin{};
  std::unique_ptr<Maintainer> keeper{};
  std::unique_ptr<ControlServer> server{};
};

}  // namespace cachee::daemon::testing
