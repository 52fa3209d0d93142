// Plain types shared by every layer. A leaf: includes std only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cachee {

using KeyView = std::string_view;    // any bytes, 0 to kKeyBytesMax
using ValueView = std::string_view;  // any bytes, 0 to the segment's value_bytes_max
using TimeNs = std::int64_t;         // CLOCK_MONOTONIC nanoseconds unless a name says "wall"

inline constexpr std::size_t kKeyBytesMax = 65536;
inline constexpr std::size_t kNameBytesMax = 64;
inline constexpr std::size_t kMetadataFieldsMax = 64;
inline constexpr std::size_t kMetadataBytesMax = 65536;  // all fields and dependencies of one key
inline constexpr std::size_t kDependenciesMax = 64;

/// Position of an event in the ring: from 0, dense, never reused while the segment lives.
struct EventSeq {
  std::uint64_t value = 0;
  friend auto operator<=>(const EventSeq&, const EventSeq&) = default;
};

/// Slot of an attached client thread, 0-based.
struct ClientId {
  std::uint32_t value = 0;
  friend auto operator<=>(const ClientId&, const ClientId&) = default;
};

/// String fields that travel with a value and that events carry as `event.metadata`.
using Metadata = std::vector<std::pair<std::string, std::string>>;
/// The same, in place.
using MetadataViews = std::vector<std::pair<std::string_view, std::string_view>>;

/// What an event is about. Values are part of the segment layout.
/// `gap` is never in the ring: cacheed makes it for a trigger that asked for ON_FULL SHED.
enum class EventKind : std::uint8_t { none = 0, write = 1, del = 2, expire = 3, evict = 4, read = 5, gap = 6 };

/// Set of event kinds: bit n stands for EventKind n.
using EventMask = std::uint32_t;
[[nodiscard]] constexpr EventMask event_bit(EventKind kind) noexcept {
  return EventMask{1} << static_cast<unsigned>(kind);
}

/// Why a value appeared or went. Values are part of the segment layout; the first eight are
/// causes of a removal and fit the slot word.
enum class Cause : std::uint8_t {
  explicit_ = 0, invalidate = 1, flush = 2, cascade = 3, cdc = 4, coherence = 5, trigger = 6,
  unknown = 7,
  create = 8, update = 9, ttl = 10, capacity = 11, hit = 12, shed = 13,
};

/// Who set an event off: the role of the client that did it.
enum class Role : std::uint8_t { client = 0, sweep = 1, trigger = 2, cascade = 3, cdc = 4, coherence = 5, control = 6 };

[[nodiscard]] const char* to_string(EventKind kind) noexcept;  // "write", "delete", ...
[[nodiscard]] const char* event_name(EventKind kind) noexcept;  // "ON_WRITE", ...
[[nodiscard]] const char* to_string(Cause cause) noexcept;      // "explicit", "ttl", ...
[[nodiscard]] const char* to_string(Role role) noexcept;        // "client", "sweep", ...

}  // namespace cachee
