// Subscription: a program's share in a consumer group. A group owns the events of a pattern; each event
// is handed to one of the group's consumers and stays owed until somebody acknowledges it.
//
// Use:   auto sub = cache->subscribe({.group = "auth", .pattern = "session:*", .events = Event::expire});
//        while (running) {
//          auto events = sub->wait(1s);                // Result<std::vector<GroupEvent>>
//          if (!events) { complain(events.error()); continue; }   // it reconnects by itself
//          for (auto& e : *events) if (auto done = handle(e) ? sub->ack(e) : sub->nack(e); !done) complain(done.error());
//        }
//
// Promises: at least once; in the order of each key, over all consumers together; kept by cacheed on disk
// while nobody reads, and through the death of consumers and of cacheed (daemon/doc/delivery.md). An event
// that was not acknowledged within the deadline is handed out again with `attempt` one higher, and is a dead letter after
// the last attempt. One whose consumer closes or dies is handed out again as it was, but for `duplicate`.
//
// Threads: one at a time; a program that wants more subscribes more often. Movable.
// fork():  the child's copy says Errc::closed; destroying it there leaves the parent's alone.
// Limits:  kGroupEventsMax events in one answer. Needs cacheed and its control socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/options.hpp>
#include <cachee/result.hpp>
#include <cachee/types.hpp>

namespace cachee {

inline constexpr std::size_t kGroupEventsMax = 4096;
inline constexpr std::size_t kGroupEventsDefault = 256;
inline constexpr std::chrono::milliseconds kAckDeadlineDefault{30'000};

/// Events to subscribe to: joined by `|`.
enum class Event : EventMask {
  none = 0,
  write = event_bit(EventKind::write),
  del = event_bit(EventKind::del),
  expire = event_bit(EventKind::expire),
  evict = event_bit(EventKind::evict),
  read = event_bit(EventKind::read),
};
[[nodiscard]] constexpr Event operator|(Event a, Event b) noexcept {
  return static_cast<Event>(static_cast<EventMask>(a) | static_cast<EventMask>(b));
}

struct SubscribeOptions {
  std::string group{};      // its name; made when it does not exist
  std::string pattern{};    // Redis glob; empty: the group must exist already
  Event events = Event::none;
  std::string consumer{};   // how this one is shown; empty: "pid-" and the process id
  // Of the group, when it is made:
  std::uint32_t retry_attempts = 5;                            // attempts in all
  std::chrono::milliseconds backoff_min{50}, backoff_max{30'000};  // between them, doubling
  std::chrono::milliseconds ack_deadline = kAckDeadlineDefault;
  // Where cacheed listens; empty: <runtime>/<name>.sock, runtime = $CACHEE_RUNTIME_DIR, else
  // $XDG_RUNTIME_DIR/cachee, else /run/cachee.
  std::string socket{};
};

/// One event, owned. The fields of Lua's `event`.
struct GroupEvent {
  std::string id{};           // "5f3a9c1e-1234", unique over the segment's life
  EventKind kind = EventKind::none;
  Cause cause = Cause::unknown;
  std::string key{};
  std::string value{};        // of expire, evict and del: the value that went
  std::optional<std::string> old_value{};
  Metadata metadata{};
  double cost = kCostDefault;
  std::int64_t timestamp_wall_us = 0;
  std::optional<std::int64_t> deadline_wall_us{};
  std::optional<std::int64_t> ttl_ms{};
  std::int64_t lag_us = 0;    // how late an expiry fired
  std::uint64_t version = 0;
  std::uint32_t attempt = 1;  // 1, 2, ...
  bool duplicate = false;     // a cacheed that died may have handed it out before
  std::uint32_t depth = 0;
  std::string chain{};        // id of the first event of the chain
  std::string parent{};       // id of the event that set it off; empty: none
  Role origin_role = Role::client;
  std::int32_t origin_pid = 0;
  std::string origin_client{};
  std::string origin_instance{};
  std::uint64_t hits = 0;     // evict, expire: how used the key was, 0 to 31; not how often it was read (Peek::hits)
  std::uint64_t age_ms = 0;
  std::uint64_t size = 0;     // of the value
};

struct NackOptions {
  std::optional<std::chrono::milliseconds> delay{};  // until the next attempt; none: the group's backoff
  std::string error{};                               // why, for the dead letter
};

class Subscription {
 public:
  Subscription(Subscription&&) noexcept;
  Subscription& operator=(Subscription&&) noexcept;
  /// Closes: what was not acknowledged is given back; no failed attempt, retry_attempts times for each event.
  ~Subscription();

  /// What is due now, oldest first, at most `count_max`; empty: nothing. Of one key at most one event is
  /// out at a time.
  /// @error no_supervisor  cacheed is not running; call again, it reconnects when there is one
  /// @error not_found      the group was removed
  /// @error full           too many events are not acknowledged (8192)
  [[nodiscard]] Result<std::vector<GroupEvent>> poll(std::size_t count_max = kGroupEventsDefault) noexcept;
  /// Like poll(), but waits up to `timeout` for the first event, also for a cacheed that is restarting.
  /// Empty: the time is over.
  [[nodiscard]] Result<std::vector<GroupEvent>> wait(std::chrono::milliseconds timeout,
                                                     std::size_t count_max = kGroupEventsDefault) noexcept;

  /// The event is over. When this returns without an error, that is on disk.
  /// @error stale  it is not (any more) in this subscription's hands: its deadline passed, cacheed was
  ///               restarted, or it was acknowledged before. It may be handed out again.
  /// @error no_supervisor, not_found
  Result<void> ack(std::string_view id) noexcept;
  Result<void> ack(const GroupEvent& event) noexcept { return ack(std::string_view{event.id}); }
  /// Many with one round trip and one fsync. Those that can be are acknowledged even when it fails.
  Result<void> ack(std::span<const GroupEvent> events) noexcept;
  /// Gives the event back: a failed attempt.
  Result<void> nack(std::string_view id, const NackOptions& options = {}) noexcept;
  Result<void> nack(const GroupEvent& event, const NackOptions& options = {}) noexcept {
    return nack(std::string_view{event.id}, options);
  }

  /// Events of the group that are not acknowledged yet and no dead letters, by everybody.
  [[nodiscard]] Result<std::uint64_t> lag() noexcept;
  /// What cacheed said to the last call that failed; empty: nothing.
  [[nodiscard]] const std::string& last_error_text() const noexcept;

 private:
  friend class Cache;
  struct Impl;
  explicit Subscription(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cachee
