// EventData: an event with everything it carries, owned. What the retry store, the dead letters
// and `TRIGGER TEST` hold; encoded as bytes for the store and as JSON for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cachee/maintain.hpp>
#include <cachee/types.hpp>
#include <nlohmann/json_fwd.hpp>

namespace cachee::daemon {

struct EventData {
  std::string id{};                       // "5f3a9c1e-1234"
  std::uint64_t seq = 0;                  // position in the ring
  EventKind kind = EventKind::none;
  Cause cause = Cause::unknown;
  std::string key{};
  std::string value{};
  std::optional<std::string> old_value{};
  Metadata metadata{};
  double cost = kCostDefault;
  std::uint64_t version = 0;
  std::int64_t timestamp_wall_us = 0;
  std::optional<std::int64_t> deadline_wall_us{};
  std::optional<std::int64_t> ttl_ms{};
  std::int64_t lag_us = 0;
  std::uint64_t age_ms = 0;
  std::uint64_t hits = 0;
  std::uint32_t attempt = 1;              // 1, 2, ...
  bool duplicate = false;                 // a crash may have run it before
  Provenance provenance{};                // parent and chain as event numbers (seq + 1)
  Role origin_role = Role::client;
  std::int32_t origin_pid = 0;
  std::string origin_client{};
  std::string origin_instance{};
};

/// Copies an event out of the segment. `epoch` makes the ids (EventReader::epoch()).
[[nodiscard]] EventData copy_event(const EventView& view, const EventReader& reader);

[[nodiscard]] std::string encode(const EventData& event);
/// nullopt for bytes that encode() did not make.
[[nodiscard]] std::optional<EventData> decode_event(std::string_view bytes);

/// The event as Lua sees it, field for field (interface.md, "Lua").
[[nodiscard]] nlohmann::json to_json(const EventData& event);
/// From `TRIGGER TEST`: missing fields keep their defaults. Throws std::invalid_argument that
/// names the field.
[[nodiscard]] EventData event_from_json(std::string_view text);

}  // namespace cachee::daemon
