// GroupBroker: what the control socket asks of the part that hands events to consumer groups. The
// dispatcher's Groups implements it; control knows only this.
//
// Use:   broker.read({.group = "auth", .consumer = "a1", .session = 7}, [](auto events) { ... });
//        broker.settle({.group = "auth", .session = 7, .ids = {"5f3a9c1e-12"}}, [](auto done) { ... });
//        broker.leave(7);                            // the connection is gone
//
// An event belongs to the connection that read it, until it acknowledges it, gives it back, lets the
// deadline pass, or is gone. The last is a failed attempt only when it happens to an event again and again (groups.hpp),
// the two before it always.
//
// Threads: called on the control thread; nothing here waits. `done` is called once, on another thread,
//          or never when the dispatcher stops first.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/event_data.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kGroupReadCountMax = 4096;            // events of one reply
inline constexpr std::size_t kGroupReadBytesMax = std::size_t{16} << 20;  // likewise, about
inline constexpr std::size_t kGroupInHandMax = 8192;               // events of one connection
inline constexpr std::size_t kConsumerNameBytesMax = 256;

struct GroupRead {
  std::string group{};
  std::string consumer{};
  std::uint64_t session = 0;
  std::size_t count_max = 1;
  std::optional<std::chrono::milliseconds> block{};     // none: answer at once; 0: for ever
  std::optional<std::chrono::milliseconds> deadline{};  // for the ack; none: the group's
};

/// Acknowledges events, or gives one back.
struct GroupSettle {
  std::string group{};
  std::uint64_t session = 0;
  std::vector<std::string> ids{};
  bool failed = false;                               // NACK
  std::string error{};                               // why, for the dead letter
  std::optional<std::chrono::milliseconds> delay{};  // until the next attempt; none: the group's BACKOFF
};

class GroupBroker {
 public:
  virtual ~GroupBroker() = default;

  /// Oldest due first; of one key only what has nothing older open. Empty: the time is over.
  /// @error not_found  no such group
  /// @error full       the connection has kGroupInHandMax events in hand
  using ReadDone = std::function<void(Outcome<std::vector<EventData>>)>;
  virtual void read(GroupRead request, ReadDone done) = 0;
  /// How many were settled, on disk when `done` is called. Those that can be are settled even when
  /// others cannot.
  /// @error stale      the first event that is not (any more) in this connection's hands
  /// @error not_found  no such group, or it has no such event
  using SettleDone = std::function<void(Outcome<std::uint64_t>)>;
  virtual void settle(GroupSettle request, SettleDone done) = 0;
  /// What the connection has in hand is given back; what it waits for is forgotten.
  virtual void leave(std::uint64_t session) = 0;

  /// {"in_hand":..., "waiting_readers":..., "consumers":[{"name":..., "session":..., "in_hand":...}]}
  /// May wait for the dispatcher, as TriggerAdmin does.
  [[nodiscard]] virtual Outcome<nlohmann::json> describe(std::string_view group) = 0;
};

}  // namespace cachee::daemon
