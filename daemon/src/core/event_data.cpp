#include "core/event_data.hpp"

#include "core/bytes.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint8_t kEncodingVersion = 1;

template <class T>
void put_optional(ByteWriter& out, const std::optional<T>& value) {
  out.put_bool(value.has_value());
  if (!value) return;
  if constexpr (std::is_arithmetic_v<T>) {
    out.put(*value);
  } else {
    out.put_string(*value);
  }
}

std::optional<std::int64_t> get_optional_number(ByteReader& in) {
  if (!in.get_bool()) return std::nullopt;
  return in.get<std::int64_t>();
}

}  // namespace

EventData copy_event(const EventView& view, const EventReader& reader) {
  EventData event;
  event.id = reader.event_id(view.seq.value + 1);
  event.seq = view.seq.value;
  event.kind = view.kind;
  event.cause = view.cause;
  event.key = std::string{view.key};
  event.value = std::string{view.value};
  if (const auto old = view.old_value()) event.old_value = std::string{*old};
  event.metadata = view.metadata();
  event.cost = view.cost();
  event.version = view.version();
  event.timestamp_wall_us = view.timestamp_wall_us();
  event.deadline_wall_us = view.deadline_wall_us();
  event.ttl_ms = view.ttl_ms();
  event.lag_us = view.lag_us();
  event.age_ms = view.age_ms();
  event.hits = view.hits();
  event.attempt = view.attempts() + 1;
  event.provenance = view.provenance();
  event.origin_role = view.origin_role();
  event.origin_pid = view.origin_pid();
  event.origin_client = view.origin_client();
  event.origin_instance = reader.segment_name();
  return event;
}

std::string encode(const EventData& event) {
  ByteWriter out{kEncodingVersion};
  out.put_string(event.id);
  out.put(event.seq);
  out.put(static_cast<std::uint8_t>(event.kind));
  out.put(static_cast<std::uint8_t>(event.cause));
  out.put_string(event.key);
  out.put_string(event.value);
  put_optional(out, event.old_value);
  out.put(static_cast<std::uint32_t>(event.metadata.size()));
  for (const auto& [field, value] : event.metadata) {
    out.put_string(field);
    out.put_string(value);
  }
  out.put(event.cost);
  out.put(event.version);
  out.put(event.timestamp_wall_us);
  put_optional(out, event.deadline_wall_us);
  put_optional(out, event.ttl_ms);
  out.put(event.lag_us);
  out.put(event.age_ms);
  out.put(event.hits);
  out.put(event.attempt);
  out.put_bool(event.duplicate);
  out.put(event.provenance.parent);
  out.put(event.provenance.chain);
  out.put(event.provenance.depth);
  out.put(static_cast<std::uint8_t>(event.origin_role));
  out.put(event.origin_pid);
  out.put_string(event.origin_client);
  out.put_string(event.origin_instance);
  return out.finish();
}

std::optional<EventData> decode_event(std::string_view bytes) {
  ByteReader in{bytes, kEncodingVersion};
  EventData event;
  event.id = in.get_string();
  event.seq = in.get<std::uint64_t>();
  event.kind = in.get_enum(EventKind::gap);
  event.cause = in.get_enum(Cause::shed);
  event.key = in.get_string();
  event.value = in.get_string();
  if (in.get_bool()) event.old_value = in.get_string();
  // A field and a value are two lengths at least, so a false count cannot make us allocate.
  const std::uint32_t fields = in.get_count(2 * sizeof(std::uint64_t));
  event.metadata.reserve(fields);
  for (std::uint32_t i = 0; i < fields && !in.failed(); ++i) {
    std::string field = in.get_string();
    std::string value = in.get_string();
    event.metadata.emplace_back(std::move(field), std::move(value));
  }
  event.cost = in.get<double>();
  event.version = in.get<std::uint64_t>();
  event.timestamp_wall_us = in.get<std::int64_t>();
  event.deadline_wall_us = get_optional_number(in);
  event.ttl_ms = get_optional_number(in);
  event.lag_us = in.get<std::int64_t>();
  event.age_ms = in.get<std::uint64_t>();
  event.hits = in.get<std::uint64_t>();
  event.attempt = in.get<std::uint32_t>();
  event.duplicate = in.get_bool();
  event.provenance.parent = in.get<std::uint64_t>();
  event.provenance.chain = in.get<std::uint64_t>();
  event.provenance.depth = in.get<std::uint32_t>();
  event.origin_role = in.get_enum(Role::control);
  event.origin_pid = in.get<std::int32_t>();
  event.origin_client = in.get_string();
  event.origin_instance = in.get_string();
  if (!in.finish()) return std::nullopt;
  return event;
}

}  // namespace cachee::daemon
