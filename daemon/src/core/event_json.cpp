// EventData as JSON: the fields of Lua's `event` table, for people and for `TRIGGER TEST`.
//
// Forms that plain JSON lacks:
//   - Bytes that are not UTF-8 stand as {"base64": "..."} wherever a string stands.
//   - `metadata` is an object; when a field's name is not UTF-8 or comes twice, it is an array of
//     [name, value] pairs instead, so that nothing is lost.
//   - `chain` and `parent` are event ids, spelled like `id`; an event that nothing set off is the
//     first of its own chain and has no parent.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/base64.hpp"
#include "core/event_data.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kMicrosecondsPerMillisecond = 1e3;

bool is_utf8(std::string_view text) noexcept {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    const unsigned char lead = *at++;
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
    // The first continuation byte is narrower where overlong forms, surrogates or code points past
    // U+10FFFF would begin.
    const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (*at < low || *at > high) return false;
    for (int i = 1; i < more; ++i) {
      if ((at[i] & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

json bytes_to_json(std::string_view bytes) {
  if (is_utf8(bytes)) return json(std::string{bytes});
  return json{{"base64", base64_encode(bytes)}};
}

[[noreturn]] void refuse(std::string_view field, std::string_view expected) {
  throw std::invalid_argument(fmt::format("event.{}: expected {}", field, expected));
}

std::string bytes_from_json(const json& value, const std::string& field) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();  // {"limit": 100} is what people write
  if (value.is_object() && value.size() == 1 && value.contains("base64") &&
      value["base64"].is_string()) {
    if (auto bytes = base64_decode(value["base64"].get_ref<const std::string&>())) return *bytes;
  }
  refuse(field, "a string, a number or {\"base64\": \"...\"}");
}

json metadata_to_json(const Metadata& metadata) {
  std::set<std::string_view> seen;
  bool plain = true;
  for (const auto& [field, value] : metadata) {
    plain = plain && is_utf8(field) && seen.insert(field).second;
  }
  json out = plain ? json::object() : json::array();
  for (const auto& [field, value] : metadata) {
    if (plain) {
      out[field] = bytes_to_json(value);
    } else {
      out.push_back(json::array({bytes_to_json(field), bytes_to_json(value)}));
    }
  }
  return out;
}

Metadata metadata_from_json(const json& value) {
  Metadata metadata;
  if (value.is_object()) {
    for (const auto& [field, item] : value.items()) {
      metadata.emplace_back(field, bytes_from_json(item, "metadata." + field));
    }
  } else if (value.is_array()) {
    for (const json& pair : value) {
      if (!pair.is_array() || pair.size() != 2) refuse("metadata", "[name, value] pairs");
      metadata.emplace_back(bytes_from_json(pair[0], "metadata"),
                            bytes_from_json(pair[1], "metadata"));
    }
  } else {
    refuse("metadata", "an object of strings or an array of pairs");
  }
  if (metadata.size() > kMetadataFieldsMax) {
    refuse("metadata", fmt::format("at most {} fields", kMetadataFieldsMax));
  }
  return metadata;
}

double number_from_json(const json& value, std::string_view field) {
  if (!value.is_number()) refuse(field, "a number");
  const double number = value.get<double>();
  if (!std::isfinite(number)) refuse(field, "a finite number");
  return number;
}

template <class T>
T integer_from_json(const json& value, std::string_view field) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  }
  refuse(field, fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(),
                            std::numeric_limits<T>::max()));
}

/// Of seconds or milliseconds with a fraction; refuses what does not fit.
std::int64_t microseconds_from_json(const json& value, std::string_view field, double scale) {
  constexpr double kMax = 9e18;
  const double microseconds = number_from_json(value, field) * scale;
  if (std::abs(microseconds) > kMax) refuse(field, "a time within 290000 years of 1970");
  return std::llround(microseconds);
}

bool bool_from_json(const json& value, std::string_view field) {
  if (!value.is_boolean()) refuse(field, "true or false");
  return value.get<bool>();
}

template <class E>
E enum_from_json(const json& value, std::string_view field, E last) {
  std::string names;
  for (unsigned raw = 0; raw <= static_cast<unsigned>(last); ++raw) {
    const auto candidate = static_cast<E>(raw);
    const std::string_view name = to_string(candidate);
    if (value.is_string() && value.get_ref<const std::string&>() == name) return candidate;
    names += (names.empty() ? "" : " ") + std::string{name};
  }
  refuse(field, "one of: " + names);
}

/// "5f3a9c1e" of "5f3a9c1e-1234"; empty when the id is not of that form.
std::string_view epoch_of(std::string_view id) noexcept {
  const auto dash = id.rfind('-');
  return dash == std::string_view::npos ? std::string_view{} : id.substr(0, dash);
}

std::string event_id_text(const EventData& event, std::uint64_t number) {
  const std::string_view epoch = epoch_of(event.id);
  return epoch.empty() ? std::to_string(number) : fmt::format("{}-{}", epoch, number);
}

/// 1234 of "5f3a9c1e-1234" or "1234"; 0, no event, of "".
std::optional<std::uint64_t> number_of(std::string_view id) noexcept {
  if (id.empty()) return 0;
  const std::string_view digits = id.substr(id.rfind('-') + 1);  // npos + 1 is 0
  std::uint64_t number = 0;
  const auto* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

std::uint64_t event_number_from_json(const json& value, std::string_view field) {
  if (value.is_number_integer()) return integer_from_json<std::uint64_t>(value, field);
  if (value.is_string()) {
    if (const auto number = number_of(value.get_ref<const std::string&>())) return *number;
  }
  refuse(field, "an event id such as \"5f3a9c1e-1234\"");
}

void origin_from_json(EventData& event, const json& value) {
  if (!value.is_object()) refuse("origin", "an object");
  for (const auto& [field, item] : value.items()) {
    if (field == "kind") {
      event.origin_role = enum_from_json(item, "origin.kind", Role::control);
    } else if (field == "pid") {
      event.origin_pid = integer_from_json<std::int32_t>(item, "origin.pid");
    } else if (field == "client") {
      event.origin_client = bytes_from_json(item, "origin.client");
    } else if (field == "instance") {
      event.origin_instance = bytes_from_json(item, "origin.instance");
    } else {
      refuse("origin", "kind, pid, client, instance; there is no \"" + field + "\"");
    }
  }
}

using Reader = void (*)(EventData&, const json&);
struct Field {
  std::string_view name;
  Reader read;
};

void ignore(EventData&, const json&) {}

// clang-format off
constexpr std::array kFields = {
    Field{"id", [](EventData& e, const json& v) { e.id = bytes_from_json(v, "id"); }},
    Field{"type", [](EventData& e, const json& v) { e.kind = enum_from_json(v, "type", EventKind::gap); }},
    Field{"cause", [](EventData& e, const json& v) { e.cause = enum_from_json(v, "cause", Cause::shed); }},
    Field{"key", [](EventData& e, const json& v) { e.key = bytes_from_json(v, "key"); }},
    Field{"value", [](EventData& e, const json& v) { e.value = bytes_from_json(v, "value"); }},
    Field{"old_value", [](EventData& e, const json& v) { e.old_value = bytes_from_json(v, "old_value"); }},
    Field{"metadata", [](EventData& e, const json& v) { e.metadata = metadata_from_json(v); }},
    Field{"cost", [](EventData& e, const json& v) { e.cost = number_from_json(v, "cost"); }},
    Field{"version", [](EventData& e, const json& v) { e.version = integer_from_json<std::uint64_t>(v, "version"); }},
    Field{"timestamp", [](EventData& e, const json& v) { e.timestamp_wall_us = microseconds_from_json(v, "timestamp", kMicrosecondsPerSecond); }},
    Field{"deadline", [](EventData& e, const json& v) { e.deadline_wall_us = microseconds_from_json(v, "deadline", kMicrosecondsPerSecond); }},
    Field{"ttl_ms", [](EventData& e, const json& v) { e.ttl_ms = integer_from_json<std::int64_t>(v, "ttl_ms"); }},
    Field{"lag_ms", [](EventData& e, const json& v) { e.lag_us = microseconds_from_json(v, "lag_ms", kMicrosecondsPerMillisecond); }},
    Field{"age_ms", [](EventData& e, const json& v) { e.age_ms = integer_from_json<std::uint64_t>(v, "age_ms"); }},
    Field{"hits", [](EventData& e, const json& v) { e.hits = integer_from_json<std::uint64_t>(v, "hits"); }},
    Field{"attempt", [](EventData& e, const json& v) { e.attempt = integer_from_json<std::uint32_t>(v, "attempt"); }},
    Field{"duplicate", [](EventData& e, const json& v) { e.duplicate = bool_from_json(v, "duplicate"); }},
    Field{"depth", [](EventData& e, const json& v) { e.provenance.depth = integer_from_json<std::uint32_t>(v, "depth"); }},
    Field{"chain", [](EventData& e, const json& v) { e.provenance.chain = event_number_from_json(v, "chain"); }},
    Field{"parent", [](EventData& e, const json& v) { e.provenance.parent = event_number_from_json(v, "parent"); }},
    Field{"origin", origin_from_json},
    Field{"size", ignore},     // follows from the value
    Field{"trigger", ignore},  // the trigger that runs it
};
// clang-format on

}  // namespace

json to_json(const EventData& event) {
  const json id = bytes_to_json(event.id);
  const Provenance& from = event.provenance;
  json out = {
      {"id", id},
      {"type", to_string(event.kind)},
      {"cause", to_string(event.cause)},
      {"key", bytes_to_json(event.key)},
      {"value", bytes_to_json(event.value)},
      {"metadata", metadata_to_json(event.metadata)},
      {"cost", event.cost},
      {"version", event.version},
      {"timestamp", static_cast<double>(event.timestamp_wall_us) / kMicrosecondsPerSecond},
      {"lag_ms", static_cast<double>(event.lag_us) / kMicrosecondsPerMillisecond},
      {"age_ms", event.age_ms},
      {"hits", event.hits},
      {"size", event.value.size()},
      {"attempt", event.attempt},
      {"duplicate", event.duplicate},
      {"depth", from.depth},
      {"chain", from.chain == 0 ? id : bytes_to_json(event_id_text(event, from.chain))},
  };
  out["origin"] = {{"kind", to_string(event.origin_role)},
                   {"pid", event.origin_pid},
                   {"client", bytes_to_json(event.origin_client)},
                   {"instance", bytes_to_json(event.origin_instance)}};
  if (from.parent != 0) out["parent"] = bytes_to_json(event_id_text(event, from.parent));
  if (event.old_value) out["old_value"] = bytes_to_json(*event.old_value);
  if (event.ttl_ms) out["ttl_ms"] = *event.ttl_ms;
  if (event.deadline_wall_us) {
    out["deadline"] = static_cast<double>(*event.deadline_wall_us) / kMicrosecondsPerSecond;
  }
  return out;
}

EventData event_from_json(std::string_view text) {
  json parsed;
  try {
    parsed = json::parse(text);
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("event: not JSON: {}", error.what()));
  }
  if (!parsed.is_object()) throw std::invalid_argument("event: expected a JSON object");
  EventData event;
  for (const auto& [name, value] : parsed.items()) {
    const auto field = std::find_if(kFields.begin(), kFields.end(),
                                    [&](const Field& known) { return known.name == name; });
    if (field == kFields.end()) {
      throw std::invalid_argument(fmt::format("event.{}: there is no such field", name));
    }
    // null is how JSON spells "not there"; an event's own id as its chain says that it is the
    // first.
    const bool own_chain = name == "chain" && parsed.contains("id") && parsed["id"] == value;
    if (!value.is_null() && !own_chain) field->read(event, value);
  }
  if (event.key.size() > kKeyBytesMax) {
    refuse("key", fmt::format("at most {} bytes", kKeyBytesMax));
  }
  // The number in the id is the position in the ring plus one.
  if (const auto number = number_of(event.id); number.value_or(0) > 0) event.seq = *number - 1;
  return event;
}

}  // namespace cachee::daemon
