// Mailbox: replies that other threads write later, for connections that wait for them.
//
// Use:   broker.read(request, [mailbox, session](auto events) {
//          mailbox->post(session, [events = std::move(events)](resp::ReplyWriter& reply) { ... });
//        });
//
// Threads: post() on any; take() and close() on the control thread. A letter to a connection that is
// gone is thrown away; so is every letter after close().
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "control/resp.hpp"

namespace cachee::daemon {

class Mailbox {
 public:
  using Write = std::function<void(resp::ReplyWriter& reply)>;
  struct Letter {
    std::uint64_t session_id = 0;
    Write write{};
  };
  /// `wake` makes the control thread look; it is called on the thread that posts.
  explicit Mailbox(std::function<void()> wake) : wake_{std::move(wake)} {}

  void post(std::uint64_t session_id, Write write);
  [[nodiscard]] std::vector<Letter> take();
  void close();

 private:
  std::mutex mutex_{};
  std::function<void()> wake_;
  std::vector<Letter> letters_{};
};

}  // namespace cachee::daemon
