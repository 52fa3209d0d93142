#include "dump_line.hpp"

#include <cmath>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace cachee::cli {
namespace {

using Json = nlohmann::ordered_json;

// Past the year 200,000: no arithmetic with a deadline overflows.
constexpr std::int64_t kWallMsMax = std::int64_t{1} << 52;

Json bytes_to_json(const std::string& bytes) {
  if (is_utf8(bytes)) return bytes;
  return Json{{"base64", base64_encode(bytes)}};
}

/// Throws std::invalid_argument, as everything below does.
std::string bytes_from_json(const Json& json, const std::string& what) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.size() == 1 && json.contains("base64") &&
      json["base64"].is_string()) {
    if (auto bytes = base64_decode(json["base64"].get_ref<const std::string&>())) return *bytes;
    throw std::invalid_argument{what + ": not valid base64"};
  }
  throw std::invalid_argument{what + R"(: expected a string or {"base64": "..."})"};
}

double positive_number(const Json& json, const std::string& what) {
  const double number = json.is_number() ? json.get<double>() : 0;
  if (!(number > 0) || !std::isfinite(number)) {
    throw std::invalid_argument{what + ": expected a positive number"};
  }
  return number;
}

std::int64_t wall_ms(const Json& json, const std::string& what) {
  if (!json.is_number_integer()) throw std::invalid_argument{what + ": expected an integer"};
  const bool too_large = json.is_number_unsigned() &&
                         json.get<std::uint64_t>() > static_cast<std::uint64_t>(kWallMsMax);
  const std::int64_t number = too_large ? kWallMsMax + 1 : json.get<std::int64_t>();
  if (number > kWallMsMax || number < -kWallMsMax) {
    throw std::invalid_argument{what + ": out of range"};
  }
  return number;
}

Json metadata_to_json(const Metadata& metadata) {
  Json object = Json::object();
  std::set<std::string_view> seen;
  for (const auto& [field, value] : metadata) {
    if (!is_utf8(field) || !seen.insert(field).second) {
      Json list = Json::array();
      for (const auto& [name, text] : metadata) {
        list.push_back(Json::array({bytes_to_json(name), bytes_to_json(text)}));
      }
      return list;
    }
    object[field] = bytes_to_json(value);
  }
  return object;
}

Metadata metadata_from_json(const Json& json) {
  Metadata metadata;
  if (json.is_object()) {
    for (const auto& [field, value] : json.items()) {
      metadata.emplace_back(field, bytes_from_json(value, "metadata." + display(field)));
    }
    return metadata;
  }
  if (!json.is_array()) throw std::invalid_argument{"metadata: expected an object"};
  for (const auto& pair : json) {
    if (!pair.is_array() || pair.size() != 2) {
      throw std::invalid_argument{"metadata: expected [field, value]"};
    }
    metadata.emplace_back(bytes_from_json(pair[0], "metadata field"),
                          bytes_from_json(pair[1], "metadata value"));
  }
  return metadata;
}

std::vector<std::string> keys_from_json(const Json& json) {
  if (!json.is_array()) throw std::invalid_argument{"depends_on: expected a list of keys"};
  std::vector<std::string> keys;
  for (const auto& key : json) keys.push_back(bytes_from_json(key, "depends_on"));
  return keys;
}

DumpRecord decode(const Json& json, std::int64_t now_wall_ms) {
  if (!json.is_object()) throw std::invalid_argument{"expected a JSON object"};
  DumpRecord record;
  bool has_key = false;
  bool has_value = false;
  for (const auto& [name, field] : json.items()) {
    if (name == "key") {
      record.key = bytes_from_json(field, name);
      has_key = true;
    } else if (name == "value") {
      record.value = bytes_from_json(field, name);
      has_value = true;
    } else if (name == "cost") {
      record.cost = positive_number(field, name);
    } else if (name == "metadata") {
      record.metadata = metadata_from_json(field);
    } else if (name == "depends_on") {
      record.depends_on = keys_from_json(field);
    } else if (name == "deadline_ms") {
      record.deadline_wall_ms = wall_ms(field, name);
    } else if (name == "ttl_ms") {
      record.deadline_wall_ms = now_wall_ms + wall_ms(field, name);
    } else {
      throw std::invalid_argument{fmt::format("unknown field {}", display(name))};
    }
  }
  if (!has_key || !has_value) {
    throw std::invalid_argument{has_key ? "no field value" : "no field key"};
  }
  return record;
}

}  // namespace

std::string encode_dump_line(const DumpRecord& record) {
  Json json;
  json["key"] = bytes_to_json(record.key);
  json["value"] = bytes_to_json(record.value);
  if (record.cost != kCostDefault) json["cost"] = record.cost;
  if (record.deadline_wall_ms) json["deadline_ms"] = *record.deadline_wall_ms;
  if (!record.metadata.empty()) json["metadata"] = metadata_to_json(record.metadata);
  if (!record.depends_on.empty()) {
    Json keys = Json::array();
    for (const auto& key : record.depends_on) keys.push_back(bytes_to_json(key));
    json["depends_on"] = std::move(keys);
  }
  return json.dump();
}

DumpLine decode_dump_line(std::string_view line, std::int64_t now_wall_ms) {
  const Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return {.error = "not JSON"};
  try {
    return {.record = decode(json, now_wall_ms)};
  } catch (const std::invalid_argument& error) {
    return {.error = error.what()};
  }
}

}  // namespace cachee::cli
