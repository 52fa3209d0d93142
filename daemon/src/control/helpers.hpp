// HelperPool: a few threads for commands that may have to wait for room in the event ring, so that
// one full ring does not hold up every connection of the control socket.
//
// Threads: submit() and take_done() are for one thread, the control thread; `wake` is called on a
// helper when something is done. Destroying the pool waits a moment for jobs under way; a job that
// takes longer keeps what it needs alive and ends by itself.
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

class HelperPool {
 public:
  HelperPool(std::shared_ptr<ServerState> server, std::function<void()> wake);
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
};

/// Runs a command and turns exceptions into error replies. For the control thread and helpers.
void run_guarded(const Command& command, Call& call);

}  // namespace cachee::daemon
