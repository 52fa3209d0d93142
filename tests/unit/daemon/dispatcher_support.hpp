// Fixture of the dispatcher's tests: a segment, a state folder, and executors that are this program
// again, started with --executor (main() in dispatcher_test.cpp).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "events/dispatcher.hpp"
#include "support/temp_segment.hpp"

namespace cachee::daemon {

using namespace std::chrono_literals;
using test::TempSegment;

/// The numbers of the events that a gap's `ids` names: ids and ranges "a..b", by commas.
inline std::vector<std::uint64_t> numbers_of_gap(const std::string& ids) {
  const auto number = [](const std::string& id) { return std::stoull(id.substr(id.find('-') + 1)); };
  std::vector<std::uint64_t> numbers;
  std::stringstream list{ids};
  for (std::string range; std::getline(list, range, ',');) {
    const auto dots = range.find("..");
    const std::uint64_t first = number(range.substr(0, dots));
    const std::uint64_t last = dots == std::string::npos ? first : number(range.substr(dots + 2));
    for (std::uint64_t n = first; n <= last; ++n) numbers.push_back(n);
  }
  return numbers;
}

/// Children of this process: its executors.
inline std::vector<pid_t> executors_of_this_process() {
  std::vector<pid_t> found;
  for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream list{task.path() / "children"};
    for (pid_t pid = 0; list >> pid;) found.push_back(pid);
  }
  return found;
}

class DispatcherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    state_ = std::filesystem::temp_directory_path() / test::unique_name("cachee-dispatcher");
    SegmentOptions options;
    options.memory_bytes = 32 << 20;
    options.ring_events = ring_events_;
    options.value_bytes_max = value_bytes_max_;
    options.clients_max = 32;
    options.eviction = eviction_;
    segment_.emplace(options);
    start();
  }
  void TearDown() override {
    stop();
    EXPECT_EQ(test::findings(segment_->client()), "");
    segment_.reset();
    std::filesystem::remove_all(state_);
  }
  void start() {
    DispatcherOptions options = dispatcher_options_;
    options.still_ms_max = still_ms_max_;
    options.segment = segment_->name();
    options.store.directory = state_;
    options.executors = executors_;
    auto made = Dispatcher::make(segment_->keeper(), options);
    ASSERT_TRUE(made) << made.failure().text;
    dispatcher_ = std::move(*made);
    auto started = dispatcher_->start();
    ASSERT_TRUE(started) << started.failure().text;
  }
  void stop() {
    if (dispatcher_) dispatcher_->stop(5s);
    dispatcher_.reset();
  }
  /// Drops the dispatcher without waiting for anything: its round is carried to the end, and then its executors are
  /// killed. What SIGKILL leaves in the middle of a round: dispatcher_kill_test.cpp.
  void crash() {
    dispatcher_->stop(0ms);
    dispatcher_.reset();
  }
  static std::vector<pid_t> executors() { return executors_of_this_process(); }
  static void signal_executors(int signal) {
    for (const pid_t pid : executors()) kill(pid, signal);
  }
  bool is_running_a_handler() { return segment_->keeper().lane(0)->running().since != 0; }
  void put(TriggerSpec spec) {
    if (spec.name.empty()) spec.name = spec.pattern;
    auto done = dispatcher_->register_triggers({spec});
    ASSERT_TRUE(done) << done.failure().text;
  }
  static TriggerSpec spec(std::string pattern, EventKind kind, std::string source) {
    TriggerSpec made;
    made.pattern = std::move(pattern);
    made.events = event_bit(kind);
    made.source = std::move(source);
    return made;
  }
  std::vector<std::string> lines(const std::string& channel) const {
    std::ifstream file{state_ / "log" / (channel + ".jsonl")};
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  template <class F>
  static bool eventually(F&& holds, std::chrono::seconds limit = 10s) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < until) {
      if (holds()) return true;
      std::this_thread::sleep_for(2ms);
    }
    return holds();
  }
  TriggerAccount account(const std::string& name) {
    auto rows = dispatcher_->account();
    EXPECT_TRUE(rows);
    for (const auto& row : *rows) {
      EXPECT_TRUE(row.adds_up()) << row.name << ": " << row.emitted << " = " << row.acknowledged << " + " << row.in_flight
                                 << " + " << row.retry << " + " << row.spooled << " + " << row.dead << " + " << row.shed;
      if (row.name == name) return row;
    }
    return {};
  }

  std::uint32_t executors_ = 1;
  std::int64_t still_ms_max_ = 3'600'000;  // stopped executors stand for slow ones in most tests
  EvictionPolicy eviction_ = EvictionPolicy::balanced;
  std::uint32_t ring_events_ = 4096;
  std::uint64_t value_bytes_max_ = kValueBytesMaxDefault;
  DispatcherOptions dispatcher_options_;
  std::filesystem::path state_;
  std::optional<TempSegment> segment_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace cachee::daemon
