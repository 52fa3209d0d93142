// Effects: what a handler asked for, buffered in the executor until the handler succeeded, then
// carried out by the supervisor. Encoded as bytes on the way between the two.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cachee/types.hpp>

namespace cachee::daemon {

enum class EffectKind : std::uint8_t { set = 1, del, invalidate, incr, expire, log, webhook, warm, depends_on, metric, once };

/// One call of a handler. Which fields count depends on the kind.
struct Effect {
  EffectKind kind = EffectKind::set;
  std::string key{};                      // set del invalidate incr expire warm depends_on(child); log: channel; metric: name; once: id
  std::string value{};                    // set: value; log: the JSON line without newline; webhook: body
  std::string url{};                      // webhook, warm
  std::string method{};                   // webhook; "POST" by default
  std::string secret{};                   // webhook: HMAC-SHA256 key, empty: none
  std::vector<std::pair<std::string, std::string>> headers{};  // webhook, warm
  std::optional<std::int64_t> ttl_ms{};   // set, expire, warm, once
  std::optional<double> cost{};           // set, warm
  Metadata metadata{};                    // set
  std::vector<std::string> depends_on{};  // set, depends_on(parents)
  bool only_absent = false;               // set nx
  bool only_present = false;              // set xx
  std::int64_t delta = 0;                 // incr
  double amount = 0;                      // metric
  std::uint32_t timeout_ms = 0;           // webhook; 0: the setting's default
};

[[nodiscard]] std::string encode(const std::vector<Effect>& effects);
/// nullopt for bytes that encode() did not make: the supervisor trusts no executor.
[[nodiscard]] std::optional<std::vector<Effect>> decode_effects(std::string_view bytes);

}  // namespace cachee::daemon
