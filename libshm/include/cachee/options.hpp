// Options of every public call, with named defaults and bounds.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <cachee/types.hpp>

namespace cachee {

inline constexpr std::uint64_t kSegmentBytesMin = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kSegmentBytesDefault = std::uint64_t{256} << 20;
inline constexpr std::uint32_t kRingEventsDefault = 65536;
inline constexpr std::uint32_t kRingEventsMin = 256;
inline constexpr std::uint32_t kRingEventsMax = std::uint32_t{1} << 24;
inline constexpr std::uint32_t kClientsDefault = 256;
inline constexpr std::uint32_t kClientsMax = 1023;
inline constexpr std::uint64_t kValueBytesMaxDefault = std::uint64_t{64} << 20;
inline constexpr double kCostDefault = 1.0;

enum class Access : std::uint8_t { read_write, read_only };

struct OpenOptions {
  std::string name = "default";       // [a-z0-9_.-]{1,64}
  Access access = Access::read_write;  // read_only maps PROT_READ and takes no client slot
  Role role = Role::client;            // who events say did it; others than client are cacheed's
  std::string client_name{};           // shown by `cachee clients`; at most 31 bytes are kept
  bool prefault = false;               // touch every page at attach
  bool lock_memory = false;            // mlock; @error permission when RLIMIT_MEMLOCK is too low
};

/// Time to live: a duration from now; zero and negative delete the key at once.
using Ttl = std::chrono::nanoseconds;

enum class Condition : std::uint8_t { always, absent, present };

/// Where a write came from when a trigger made it; cacheed fills it in.
struct Provenance {
  std::uint64_t parent = 0;  // id of the event whose handler did this (0: none)
  std::uint64_t chain = 0;   // id of the first event of the chain
  std::uint32_t depth = 0;   // 0 for a client's own operation
  friend bool operator==(const Provenance&, const Provenance&) = default;
};

struct SetOptions {
  std::optional<Ttl> ttl{};                        // none: no deadline
  /// EXAT/PXAT: ms since 1970; wins over ttl. Goes by the wall clock: who steps it, or suspends the machine, moves the end
  /// of the value along. A moment that is over ends it at once, for good.
  std::optional<std::int64_t> deadline_wall_ms{};
  bool keep_ttl = false;                           // keep the deadline the key has
  std::optional<double> cost{};                    // recomputation cost, positive and finite
  Metadata metadata{};
  std::vector<std::string> depends_on{};           // keys it was made from, not itself; cycles: cacheed's DEPENDS_ON
  Condition condition = Condition::always;
  std::optional<std::uint64_t> if_version{};       // compare-and-set; else Errc::stale
  bool return_old = false;                         // fill WriteResult::old_value
  Provenance provenance{};
};

/// One item of Cache::set_many; borrows both.
struct KeyValue {
  KeyView key{};
  ValueView value{};
};

struct WriteResult {
  std::uint64_t version = 0;            // of the key; grows with each write, never comes back
  std::optional<EventSeq> event{};      // set when a trigger matched
  bool created = false;
  std::optional<std::string> old_value{};
};

struct EraseOptions {
  Cause cause = Cause::explicit_;       // one of the causes of a removal
  std::optional<std::uint64_t> if_version{};
  bool return_old = false;
  Provenance provenance{};
};

struct EraseResult {
  std::optional<EventSeq> event{};
  std::optional<std::string> old_value{};
};

struct IncrementOptions {
  std::int64_t initial = 0;             // value of a key that is not there
  Provenance provenance{};
};

enum class ExpireCondition : std::uint8_t { always, no_deadline, has_deadline, greater, less };

}  // namespace cachee
