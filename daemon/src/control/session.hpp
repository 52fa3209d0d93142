// Session: what the server remembers of one connection, apart from its socket; and what commands
// may see and steer of the server (ServerState).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cachee/cache.hpp>
#include <cachee/maintain.hpp>

#include "control/admin.hpp"
#include "control/mailbox.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Session {
  std::uint64_t id = 0;
  int fd = -1;
  std::string peer{};            // "pid 4711 uid 1000" or "127.0.0.1:53122"
  std::string name{};            // CLIENT SETNAME
  std::string_view last_command{};  // a name of the command table
  int protocol = 2;
  bool authenticated = false;
  bool reads_groups = false;     // may have events of a consumer group in hand
  bool closing = false;          // when everything is sent
  std::int64_t connected_wall_ms = 0;
  SteadyTime connected{};
  SteadyTime last_used{};
  std::size_t input_bytes = 0;   // for CLIENT LIST
  std::size_t output_bytes = 0;
  std::uint64_t commands = 0;
};

struct SettingWords {
  std::string name;
  std::string_view value;
};
struct SettingRefusal {
  std::size_t index;  // of the change that cannot be made
  Failure failure;
};

/// What main.cpp lends to the commands, besides the cache and the triggers. Called on the control
/// thread; all are required.
struct ControlHooks {
  /// CONFIG GET: every setting with its value now.
  std::function<std::vector<std::pair<std::string, std::string>>()> list_settings{};
  /// CONFIG SET, of all or of none; the refusal says what was expected, or that it needs a restart.
  std::function<std::optional<SettingRefusal>(std::span<const SettingWords> changes)> change_settings{};
  /// SHUTDOWN: asks the supervisor to stop; returns at once.
  std::function<void()> shutdown{};
};

struct CommandStats {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;
  std::uint64_t rejected = 0;  // refused before they ran: arity, no authentication
  std::uint64_t microseconds = 0;
};

/// Everything of the server that a command may see. Lives on the control thread.
struct ServerState {
  Cache cache;
  TriggerAdmin& triggers;
  ControlHooks hooks;
  std::shared_ptr<Mailbox> mailbox{};  // replies that come later, from other threads
  std::string socket_path{};
  std::uint16_t tcp_port = 0;     // 0: no TCP listener
  std::string password{};         // empty: none is asked for
  std::uint64_t value_bytes_max = kValueBytesMaxDefault;
  std::size_t connections_max = 0;

  SteadyTime started{};
  std::map<std::uint64_t, Session*> sessions{};
  std::uint64_t connections_total = 0;
  std::uint64_t connections_refused = 0;
  std::uint64_t commands_total = 0;
  std::uint64_t input_bytes_total = 0;
  std::uint64_t output_bytes_total = 0;
  std::uint64_t waiting = 0;      // connections that wait for an acknowledgement or sleep
  std::vector<CommandStats> command_stats{};  // by place in all_commands()
  std::map<std::string, std::uint64_t, std::less<>> error_stats{};
};

}  // namespace cachee::daemon
