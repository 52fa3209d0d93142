// One key as a line of JSON, for `dump` and `load`. Lossless: bytes that are not UTF-8 are
// {"base64": "..."}, and the TTL is kept as the absolute time at which the key ends.
//
//   {"key":"a","value":"1","cost":2.5,"deadline_ms":1714563000123,
//    "metadata":{"user":"42"},"depends_on":["p"]}
//
// Only "key" and "value" are needed. "ttl_ms" may stand for "deadline_ms" in files made by hand;
// metadata whose field names are not UTF-8 is a list of [field, value]. Unknown fields are errors,
// since a misspelt one would lose what it was meant to say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/cachee.hpp>

namespace cachee::cli {

struct DumpRecord {
  std::string key{};
  std::string value{};
  double cost = kCostDefault;
  Metadata metadata{};
  std::vector<std::string> depends_on{};
  std::optional<std::int64_t> deadline_wall_ms{};
};

/// Without a line feed.
[[nodiscard]] std::string encode_dump_line(const DumpRecord& record);

/// A record, or what is wrong with the line. `now_wall_ms` is what "ttl_ms" counts from.
struct DumpLine {
  std::optional<DumpRecord> record{};
  std::string error{};
};
[[nodiscard]] DumpLine decode_dump_line(std::string_view line, std::int64_t now_wall_ms);

}  // namespace cachee::cli
