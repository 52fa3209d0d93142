// HelperPool: a few threads for commands that may take long, so that they hold up no other connection
// of the control socket: for room in the event ring, for the dispatcher, for a handler that is tried.
// A pool for each of these, so that none waits behind the others.
//
// Threads: submit() and take_done() are for one thread, the control thread; `wake` is called on a
// helper when something is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/commands/call.hpp"

namespace cachee::daemon {

struct HelperJob {
  std::uint64_t session_id = 0;
  const Command* command = nullptr;
  std::vector<std::string> arguments{};  // owned: the connection's buffer may go
  int protocol = 2;
  std::size_t reply_bytes_max = 0;
  // Results:
  std::string reply{};
  std::optional<Hold> hold{};
  std::chrono::microseconds took{};
};

/// What the end of a pool does about jobs under way.
enum class Farewell : std::uint8_t {
  brief,     // waits a moment: a job that takes longer keeps what it needs alive and ends by itself
  complete,  // waits for all of them: they use what goes after the pool
};

class HelperPool {
 public:
  HelperPool(std::shared_ptr<ServerState> server, std::function<void()> wake, Farewell farewell);
  ~HelperPool();
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;

  /// Takes the job; false when no thread could be started, and the job is as it was.
  [[nodiscard]] bool submit(HelperJob& job);
  [[nodiscard]] std::vector<HelperJob> take_done();

 private:
  struct Shared;
  static void work(const std::shared_ptr<Shared>& shared);
  std::shared_ptr<Shared> shared_;
  Farewell farewell_;
};

/// Runs a command and turns exceptions into error replies. For the control thread and helpers.
void run_guarded(const Command& command, Call& call);

}  // namespace cachee::daemon
