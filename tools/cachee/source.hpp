// Source: where a command's data comes from: the segment itself, or the supervisor's control
// socket. Both are attached at first use, so a command that needs one never waits for the other.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/cachee.hpp>

#include "output.hpp"

namespace cachee::cli {

/// What the common options and the environment say.
struct Places {
  std::string name = "default";
  std::string runtime_dir{};
  std::string state_dir{};
  [[nodiscard]] std::string socket_path() const { return runtime_dir + "/" + name + ".sock"; }
};

/// $CACHEE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/cachee, else /run/cachee; and likewise for state.
[[nodiscard]] Places default_places();

/// An answer of the control socket.
struct Reply {
  enum class Kind : std::uint8_t { nil, status, error, integer, string, array };
  Kind kind = Kind::nil;
  std::string text{};  // status, error, string
  std::int64_t integer = 0;
  std::vector<Reply> items{};  // array
};

/// As a value tree, arrays as lists.
[[nodiscard]] Value to_value(const Reply& reply);
/// An array that alternates names and values, or a JSON object in a string, becomes an object.
[[nodiscard]] Value to_record(const Reply& reply);
/// A list of records.
[[nodiscard]] Value to_records(const Reply& reply);

/// One connection to the control socket. One thread.
class Supervisor {
 public:
  /// Failure{cannot_attach} that names the socket and what to do.
  [[nodiscard]] static Supervisor connect(const Places& places);
  Supervisor(Supervisor&&) noexcept;
  Supervisor& operator=(Supervisor&&) noexcept;
  ~Supervisor();

  /// Sends one command and waits for its answer. Error replies are returned, a lost connection is
  /// a Failure{cannot_attach}.
  [[nodiscard]] Reply call(const std::vector<std::string>& words);
  /// The same, but an error reply is a Failure{no} with its text.
  [[nodiscard]] Reply require(const std::vector<std::string>& words);
  /// How long call() waits for an answer; zero: for ever.
  void set_reply_timeout(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit Supervisor(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

class Source {
 public:
  explicit Source(Places places) : places_{std::move(places)} {}

  [[nodiscard]] const Places& places() const noexcept { return places_; }
  /// Failure{cannot_attach} when there is no such segment or it may not be attached.
  [[nodiscard]] Cache& segment(Access access = Access::read_write);
  /// Reads need no write permission: falls back to a read-only mapping.
  [[nodiscard]] Cache& segment_to_read();
  [[nodiscard]] Supervisor& supervisor();

 private:
  Places places_;
  std::optional<Cache> cache_{};
  std::optional<Supervisor> supervisor_{};
};

/// Keys that a walk over all of them asks for at a time.
inline constexpr std::size_t kScanStep = 1024;

/// An entry's or event's metadata as a command prints it.
[[nodiscard]] Value metadata_value(const Metadata& metadata);
/// "cacheed" or "cacheed --name orders": what starts the supervisor of that name.
[[nodiscard]] std::string start_command(std::string_view name);

}  // namespace cachee::cli
