// Call: one command while it is carried out; and the rows of the command table.
//
// Threads: handlers of commands with the flag `writes` may run on a helper thread while the ring is
// nearly full, and those with `asks` or `tries` always do; they touch nothing but `cache`, `arguments`,
// `reply`, the request to wait and `server.triggers`. Everything else of a Call belongs to the control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/cache.hpp>

#include "control/resp.hpp"
#include "control/session.hpp"

namespace cachee::daemon {

using Arguments = std::span<const std::string_view>;

/// A reply that is held back until the events are acknowledged, or until the time has come.
struct Hold {
  std::vector<EventSeq> events{};
  std::chrono::milliseconds patience{};
  bool sleep = false;  // DEBUG SLEEP: the time passing is success
};

struct Call {
  Cache& cache;
  std::uint64_t value_bytes_max;
  Arguments arguments;  // the command's name first
  resp::ReplyWriter& reply;
  std::optional<Hold> hold{};
  bool later = false;  // the reply comes through the server's mailbox; nothing was written
  ServerState& server;
  Session& session;

  [[nodiscard]] std::size_t count() const noexcept { return arguments.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t index) const { return arguments[index]; }
  [[nodiscard]] Arguments from(std::size_t index) const { return arguments.subspan(index); }
  /// Compares an argument with an option word.
  [[nodiscard]] bool is(std::size_t index, std::string_view word) const;
};

struct Command {
  std::string_view name;     // lower case; a subcommand is "client|id"
  int arity;                 // words with the name; negative: at least so many
  std::uint32_t flags;
  int first_key, last_key, key_step;  // as COMMAND shows them; 0: no keys
  std::string_view group;    // as COMMAND DOCS shows it
  std::string_view syntax;   // the arguments
  std::string_view summary;
  void (*run)(Call& call);
};

inline constexpr std::uint32_t kWrites = 1;         // may wait for the ring, may run on a helper
inline constexpr std::uint32_t kReads = 2;
inline constexpr std::uint32_t kFast = 4;
inline constexpr std::uint32_t kAdmin = 8;
inline constexpr std::uint32_t kNoAuth = 16;        // allowed before AUTH
inline constexpr std::uint32_t kContainer = 32;     // has subcommands; run may be null
inline constexpr std::uint32_t kMayGrow = 64;       // "denyoom": needs memory
inline constexpr std::uint32_t kOldErrors = 128;    // Redis answers its subcommands as before there were any
inline constexpr std::uint32_t kAsks = 256;         // the dispatcher, or a disk: runs on a helper
inline constexpr std::uint32_t kTries = 512;        // a handler, for as long as its TIMEOUT: runs on a helper of its kind

// The parts of the table.
[[nodiscard]] std::span<const Command> set_commands() noexcept;
[[nodiscard]] std::span<const Command> key_commands() noexcept;
[[nodiscard]] std::span<const Command> string_commands() noexcept;
[[nodiscard]] std::span<const Command> time_commands() noexcept;
[[nodiscard]] std::span<const Command> graph_commands() noexcept;
[[nodiscard]] std::span<const Command> group_commands() noexcept;
[[nodiscard]] std::span<const Command> trigger_commands() noexcept;
[[nodiscard]] std::span<const Command> connection_commands() noexcept;
[[nodiscard]] std::span<const Command> server_commands() noexcept;

/// All rows in order of their names.
[[nodiscard]] std::span<const Command> all_commands();
/// By lower-case name; null: there is none.
[[nodiscard]] const Command* find_command(std::string_view name);
/// The row that carries out these words, or null after an error reply.
[[nodiscard]] const Command* resolve_command(Arguments arguments, resp::ReplyWriter& reply);

// Replies that several commands give.
inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kNotAnInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kNoSuchKey = "ERR no such key";
/// The Redis whose behaviour the commands have: client libraries choose by what HELLO and INFO say.
inline constexpr std::string_view kRedisVersion = "7.0.0";

/// The error reply for what a Cache operation said, and its text alone.
[[nodiscard]] std::string error_text(const Error& error);
void reply_error(resp::ReplyWriter& reply, const Error& error);
/// "ERR " and the text.
void reply_failure(resp::ReplyWriter& reply, const Failure& failure);
void reply_arity_error(resp::ReplyWriter& reply, std::string_view command);

/// False after an error reply: a key or value that no segment takes.
[[nodiscard]] bool check_key(Call& call, std::string_view key);
[[nodiscard]] bool check_keys(Call& call, Arguments keys);
[[nodiscard]] bool check_value_bytes(Call& call, std::size_t bytes);
[[nodiscard]] std::string value_too_large_text(std::uint64_t value_bytes_max);

/// Redis' rules for integers: one canonical spelling. None after an error reply.
[[nodiscard]] std::optional<std::int64_t> take_integer(Call& call, std::string_view word);

/// The database of SELECT and COPY: there is number 0. False after an error reply.
[[nodiscard]] bool check_database(Call& call, std::string_view word);

/// EX, PX, EXAT, PXAT: a time as SetOptions and touch() take it.
struct Expiry {
  std::optional<Ttl> ttl{};                         // relative
  std::optional<std::int64_t> deadline_wall_ms{};   // absolute
};
/// `unit_ms` is 1000 for seconds; `command` is for the message. None after an error reply.
/// With `must_be_positive`, zero and negative times are refused as SET refuses them.
struct ExpiryRules {
  std::int64_t unit_ms = 1;
  bool absolute = false;
  bool must_be_positive = false;
  std::string_view command{};
};
[[nodiscard]] std::optional<Expiry> take_expiry(Call& call, std::string_view word,
                                                const ExpiryRules& rules);

/// False after an error reply: `child` would depend on itself through what is stored.
[[nodiscard]] bool check_dependencies(Call& call, std::string_view child,
                                      const std::vector<std::string>& parents);

/// "WAIT ms" of SET and DEL. None after an error reply.
[[nodiscard]] std::optional<std::chrono::milliseconds> take_patience(Call& call,
                                                                     std::string_view word);

/// HELP of a container: its subcommands, from the table.
void run_help(Call& call);

[[nodiscard]] std::int64_t wall_ms_now() noexcept;

}  // namespace cachee::daemon
