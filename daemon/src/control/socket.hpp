// The control socket: one thread that serves every connection, over a unix socket and perhaps TCP.
//
// Use:   auto server = ControlServer::start(options, std::move(cache), triggers, hooks);
//        if (!server) die(server.failure().text);
//        ...
//        (*server)->stop();                          // or its destructor
//
// A reply that has to wait (WAIT, DEBUG SLEEP, GROUP READ ... BLOCK), a write that meets a nearly full ring, and what the
// dispatcher must answer (TRIGGER, GROUP, VERIFY, ...) hold up their own connection only. A client that does not read its replies is not read from either, and
// is closed when it takes nothing for `stalled_max`.
//
// Threads: start() and stop() on one thread. Hooks are called on the server's, TriggerAdmin on its helpers'
// too, also after stop(): it must outlive the server, and the destructor waits for calls under way.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <cachee/cache.hpp>

#include "control/admin.hpp"
#include "control/session.hpp"
#include "core/address.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kControlConnectionsMax = 4096;
inline constexpr std::size_t kControlBuffersBytesMax = std::size_t{1} << 30;
inline constexpr std::chrono::seconds kControlStalledMax{60};

struct ControlOptions {
  std::string socket_path{};
  std::uint32_t mode = 0660;
  std::optional<std::uint32_t> group{};
  std::optional<ListenAddress> listen{};  // refused unless loopback, or a password is set
  std::string password{};                 // asked for on TCP; a unix socket is guarded by its mode
  std::uint64_t value_bytes_max = kValueBytesMaxDefault;
  std::size_t connections_max = kControlConnectionsMax;
  std::size_t buffers_bytes_max = kControlBuffersBytesMax;  // of all connections together
  std::chrono::milliseconds stalled_max = kControlStalledMax;
};

class ControlServer {
 public:
  /// Binds, listens and starts the thread. `cache` is the server's own handle (Role::control).
  [[nodiscard]] static Outcome<std::unique_ptr<ControlServer>> start(ControlOptions options,
                                                                     Cache cache,
                                                                     TriggerAdmin& triggers,
                                                                     ControlHooks hooks);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Takes no more commands, sends what can be sent at once, closes everything. Idempotent.
  void stop() noexcept;
  /// 0: there is no TCP listener.
  [[nodiscard]] std::uint16_t tcp_port() const noexcept;

 private:
  struct Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cachee::daemon
