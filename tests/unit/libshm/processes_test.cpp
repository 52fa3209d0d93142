// Goal: clients of other processes, forked ones and ones in other PID namespaces behave as documented.
//
// Method: real processes that report through pipes. A child that hangs is ended by its own alarm, and
// the test sees that it did not exit by itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <numeric>
#include <thread>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kChildSecondsMax = 20;

/// A forked process that runs `work` and stays until it is killed or let go.
class Child {
 public:
  template <class Work>
  explicit Child(Work&& work) {
    if (pipe(ready_) != 0 || pipe(go_) != 0) throw std::runtime_error("pipe");
    pid_ = fork();
    if (pid_ != 0) {
      close(ready_[1]);
      close(go_[0]);
      return;
    }
    alarm(kChildSecondsMax);
    close(ready_[0]);
    close(go_[1]);
    const auto kept = work();  // lives until the process ends
    static_cast<void>(kept);
    say('r');
    char byte;
    static_cast<void>(read(go_[0], &byte, 1));
    _exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    close(ready_[0]);
    close(go_[1]);
  }
  /// True once the work is done.
  bool ready() const {
    char byte = 0;
    return read(ready_[0], &byte, 1) == 1 && byte == 'r';
  }
  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  void say(char byte) const { static_cast<void>(write(ready_[1], &byte, 1)); }
  pid_t pid_ = 0;
  int ready_[2];
  int go_[2];
};

/// Runs `claim` in a forked child; true when it says so and the child ends by itself.
template <class Claim>
bool holds_in_child(Claim&& claim) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(kChildSecondsMax);
    _exit(claim() ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Cache open_cache(const std::string& name, std::string_view client_name) {
  auto opened = Cache::open({.name = name, .client_name = std::string{client_name}});
  if (!opened) throw std::runtime_error(to_string(opened.error()));
  return std::move(*opened);
}

std::optional<ClientInfo> find_client(const Cache& cache, std::string_view client_name) {
  const auto clients = list_clients(cache);
  const auto at = std::find_if(clients->begin(), clients->end(), [&](const auto& c) { return c.name == client_name; });
  if (at == clients->end()) return std::nullopt;
  return *at;
}

TEST(Fork, EveryCallOnAnInheritedHandleSaysClosed) {
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  Maintainer& keeper = segment.keeper();
  const EventReader reader = keeper.reader();
  EXPECT_TRUE(holds_in_child([&] {
    char buffer[8];
    const KeyView keys[] = {"k"};
    const KeyValue items[] = {{"k", "v"}};
    const Errc codes[] = {
        cache.get("k").code(), cache.get_into("k", buffer).code(), cache.get_many(keys, [](auto...) {}).code(),
        cache.view("k").code(), cache.inspect("k").code(), cache.contains("k").code(), cache.ttl("k").code(),
        cache.set("k", "v").code(), cache.set_many(items).code(), cache.add("k", "v").code(), cache.replace("k", "v").code(),
        cache.compare_and_set("k", 1, "v").code(), cache.increment("n").code(), cache.append("k", "v").code(),
        cache.update("k", [](auto) { return std::optional<std::string>{"x"}; }).code(), cache.touch("k", 1s).code(),
        cache.touch_at("k", 1).code(), cache.persist("k").code(), cache.erase("k").code(), cache.clear().code(),
        cache.scan(0, 1, [](KeyView) {}).code(), cache.size().code(), cache.random_key().code(),
        cache.wait_acknowledged(EventSeq{0}, 0ms).code(), segment_info(cache).code(), list_clients(cache).code(),
        list_slabs(cache).code(), list_events(cache, 1).code(), fsck(cache).code(), read_triggers(cache).code(),
        memory_info(cache).code(), reader.at(EventSeq{0}).code(), keeper.repair().code(),
        keeper.publish_triggers({}, 0ms).code()};
    const bool closed = std::all_of(std::begin(codes), std::end(codes), [](Errc code) { return code == Errc::closed; });
    // What has no error to return does nothing, and does not touch the memory that is not there.
    keeper.heartbeat(1);
    keeper.acknowledge(EventSeq{0});
    keeper.release_through(1, {});
    const bool nothing = keeper.expire_due(1, 1) == 0 && keeper.evict(1) == 0 && keeper.reap(1) == 0 &&
                         keeper.scrub(1) == 0 && !keeper.count_slabs(1, 1) && keeper.help_stalled(1) == 0 && keeper.next_deadline() == 0 &&
                         reader.head() == 0 && reader.tail() == 0 && trigger_generation(cache) == 0;
    return closed && nothing && !cache.supervisor_alive();
  }));
  EXPECT_EQ(cache.get("k")->bytes, "v");
  EXPECT_TRUE(cache.set("k", "the parent goes on"));
  EXPECT_EQ(keeper.reap(10), 0u) << "the child's end is not the parent's";
}

TEST(Fork, AChildOpensWhileOtherThreadsOfTheParentWereOpening) {
  // The registry of handles has a mutex; a fork between its lock and its unlock, by another thread,
  // must not leave the child a mutex that nobody unlocks.
  TempSegment segment;
  const Cache cache = segment.client();
  std::atomic<bool> stop{false};
  std::vector<std::thread> openers;
  for (int t = 0; t < 2; ++t) {
    openers.emplace_back([&] {
      // Of a registration of this process the registry knows: most of this loop is inside its mutex.
      const shm::LockLiveness liveness{segment.name()};
      while (!stop) static_cast<void>(liveness.is_dead({}, cache.handle()->registration()));
    });
  }
  int hung = 0;
  for (int i = 0; i < 40 && hung == 0; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(kChildSecondsMax);
      Cache own = open_cache(segment.name(), "child");
      _exit(own.set("k", "child") ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    hung += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    static_cast<void>(segment.keeper().reap(10));
  }
  stop = true;
  for (auto& t : openers) t.join();
  EXPECT_EQ(hung, 0);
}

TEST(Fork, AChildOfAClientIsAClientOfItsOwn) {
  TempSegment segment;
  Cache parent = segment.client("parent");
  ASSERT_TRUE(parent.set("k", "v"));
  Child child{[&] {
    Cache own = open_cache(segment.name(), "child");
    static_cast<void>(own.set("from", "child"));
    return own;
  }};
  ASSERT_TRUE(child.ready());
  EXPECT_EQ(parent.get("from")->bytes, "child");
  EXPECT_TRUE(find_client(parent, "child")->alive);
  EXPECT_TRUE(find_client(parent, "parent")->alive);
  child.kill();
  EXPECT_FALSE(find_client(parent, "child")->alive);
  EXPECT_EQ(segment.keeper().reap(10), 1u);
  EXPECT_FALSE(find_client(parent, "child"));
  EXPECT_TRUE(find_client(parent, "parent")->alive);
}

TEST(Death, WhatTheDeadPinnedStaysUntilTheirRecovery) {  // [HP-3]
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", std::string(1000, 'a')));
  Child child{[&] {
    auto own = std::make_unique<Cache>(open_cache(segment.name(), "pinner"));
    auto view = own->view("k");
    return std::pair{std::move(own), std::move(view)};
  }};
  ASSERT_TRUE(child.ready());
  child.kill();
  const auto waiting = [&] {
    static_cast<void>(segment.keeper().scrub(1 << 20));
    const auto slabs = list_slabs(cache).value();
    return std::accumulate(slabs.begin(), slabs.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& slab) { return sum + slab.waiting; });
  };
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(cache.set("k", std::string(1000, 'b')));
  std::thread{[&] { static_cast<void>(cache.get("k")); }}.join();
  EXPECT_GE(waiting(), 1u) << "dead, but its hazards hold";
  EXPECT_EQ(find_client(cache, "pinner")->pins, 1u);
  EXPECT_EQ(segment.keeper().reap(10), 1u);
  ASSERT_TRUE(cache.erase("k"));
  { const Cache gone = std::move(cache); }
  const Cache after = segment.client("after");
  static_cast<void>(segment.keeper().scrub(1 << 20));
  const auto slabs = list_slabs(after);
  ASSERT_TRUE(slabs);
  for (const auto& slab : *slabs) EXPECT_EQ(slab.waiting, 0u) << slab.block_bytes;
  EXPECT_EQ(findings(after), "");
}

TEST(Death, ASupervisorStartsWhenItsPredecessorAndClientsDiedWithAllSlots) {  // [CL-5]
  SegmentOptions options;
  options.clients_max = 16;
  options.name = unique_name("slots");
  options.memory_bytes = 8 << 20;
  { ASSERT_TRUE(Maintainer::create(options)); }
  Child predecessor{[&] {
    auto keeper = std::make_unique<Maintainer>(std::move(*Maintainer::create(options)));  // a warm start
    // Its two threads, and clients until there is no slot left.
    std::vector<std::thread> threads;
    std::vector<Cache> clients;
    std::atomic<unsigned> working{0};
    const auto stay = [&](auto work) {
      threads.emplace_back([&working, work] {
        work();
        ++working;
        pause();
      });
      while (working < threads.size()) std::this_thread::yield();
    };
    Maintainer& works = *keeper;
    stay([&works] { static_cast<void>(works.expire_due(1, 1)); });
    stay([&works] { static_cast<void>(works.scrub(1)); });
    for (;;) {
      clients.push_back(open_cache(options.name, "client"));
      if (!clients.back().set("k", "v")) break;
    }
    for (std::thread& thread : threads) thread.detach();
    return std::pair{std::move(keeper), std::move(clients)};
  }};
  ASSERT_TRUE(predecessor.ready());
  predecessor.kill();
  {
    auto keeper = Maintainer::create(options);
    ASSERT_TRUE(keeper);
    EXPECT_EQ(list_clients(keeper->cache())->size(), 0u) << "all of them are dead";
    EXPECT_TRUE(open_cache(options.name, "next").set("k", "w"));
    EXPECT_EQ(findings(keeper->cache()), "");
  }
  static_cast<void>(remove_segment(options.name));
}

TEST(Death, AStoppedClientIsNotUndone) {  // [KS-7]
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  Child child{[&] {
    auto own = std::make_unique<Cache>(open_cache(segment.name(), "stopped"));
    auto view = own->view("k");
    return std::pair{std::move(own), std::move(view)};
  }};
  ASSERT_TRUE(child.ready());
  ::kill(child.pid(), SIGSTOP);
  waitpid(child.pid(), nullptr, WUNTRACED);
  EXPECT_EQ(segment.keeper().reap(10), 0u);
  static_cast<void>(segment.keeper().help_stalled(0));
  static_cast<void>(segment.keeper().help_stalled(1'000'000'000));
  const auto client = find_client(cache, "stopped");
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->alive);
  EXPECT_EQ(client->pins, 1u);
}

TEST(PidNamespace, AClientInAnotherOneIsSeenAliveAndDead) {
  if (!holds_in_child([] { return unshare(CLONE_NEWPID) == 0; })) {
    GTEST_SKIP() << "this test makes a PID namespace, which needs root or CAP_SYS_ADMIN";
  }
  TempSegment segment;
  Cache cache = segment.client();
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  // Its children are in the new namespace; it is not.
  const pid_t outer = fork();
  if (outer == 0) {
    alarm(kChildSecondsMax);
    if (unshare(CLONE_NEWPID) != 0) _exit(1);
    const pid_t inner = fork();
    if (inner == 0) {
      alarm(kChildSecondsMax);
      Cache own = open_cache(segment.name(), "inside");
      static_cast<void>(own.set("from", "inside"));
      static_cast<void>(write(out[1], "r", 1));
      pause();
    }
    waitpid(inner, nullptr, 0);
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(out[0], &byte, 1), 1);
  const auto client = find_client(cache, "inside");
  ASSERT_TRUE(client);
  EXPECT_EQ(client->pid, 1) << "as its own namespace numbers it";
  EXPECT_TRUE(client->alive);
  EXPECT_EQ(cache.get("from")->bytes, "inside");
  EXPECT_EQ(segment.keeper().reap(10), 0u) << "alive";

  // The first process of a namespace can be killed from outside only, by its pid out here.
  char command[64];
  std::snprintf(command, sizeof command, "/proc/%d/task/%d/children", outer, outer);
  FILE* const children = std::fopen(command, "r");
  ASSERT_NE(children, nullptr);
  int inner = 0;
  ASSERT_EQ(std::fscanf(children, "%d", &inner), 1);
  std::fclose(children);
  ::kill(inner, SIGKILL);
  waitpid(outer, nullptr, 0);
  EXPECT_FALSE(find_client(cache, "inside")->alive);
  EXPECT_EQ(segment.keeper().reap(10), 1u);
  EXPECT_FALSE(find_client(cache, "inside"));
  EXPECT_EQ(findings(cache), "");
  close(out[0]);
  close(out[1]);
}

TEST(PidNamespace, AClientWithOurPidInAnotherOneIsNotTakenForUs) {
  // Two containers that started in the same clock tick: both processes are pid 1, with one start time.
  TempSegment segment;
  const shm::LockLiveness liveness{segment.name()};
  const os::ProcessIdentity self = os::own_identity();
  layout::Client client{};
  constexpr std::uint64_t kRegistration = 1 << 20;
  client.state.store_relaxed(layout::ClientState::make(layout::ClientState::kLive, kRegistration, 0));
  client.pid.store_relaxed(static_cast<std::uint64_t>(self.pid));
  client.start_ticks.store_relaxed(self.start_ticks);
  EXPECT_FALSE(liveness.is_dead(client, kRegistration)) << "another copy of the library in this process";
  client.start_ticks.store_relaxed(self.start_ticks ^ (std::uint64_t{1} << os::kStartTicksBits));
  EXPECT_TRUE(liveness.is_dead(client, kRegistration)) << "nobody holds its lock";
}

}  // namespace
}  // namespace cachee::test
