// Effects: what a handler asked for, buffered in the executor until the handler succeeded, then
// carried out by the supervisor. Encoded as bytes on the way between the two.
//
// Bytes: [u8 version] then per effect [u32 bytes of the rest][u8 kind][u16 which fields follow]
// [fields in the order of the struct]; numbers little-endian, strings and lists prefixed by u32. A
// field that has its default is left out, so every list of effects has exactly one encoding and
// decode_effects() refuses any other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cachee/types.hpp>

namespace cachee::daemon {

inline constexpr std::size_t kEffectsMax = 1000;                       // of one run
inline constexpr std::size_t kEffectsBytesMax = std::size_t{8} << 20;  // encoded, of one run
inline constexpr std::size_t kEffectUrlBytesMax = 8192;                // webhook, warm
inline constexpr std::size_t kEffectHeadersMax = 64;                   // webhook, warm
inline constexpr std::size_t kEffectHeaderBytesMax = std::size_t{64} << 10;  // names and values of one effect
inline constexpr std::size_t kEffectNameBytesMax = 64;                 // log channel, metric
/// `cachee.once(id)` is claimed exactly while this prefix followed by the id is a live key: by the run that its value
/// names, until all that the run did is applied and the value is kOnceOver.
inline constexpr std::string_view kOnceKeyPrefix = "cachee.once:";
inline constexpr std::string_view kOnceOver = "1";

enum class EffectKind : std::uint8_t {
  set = 1,
  del,
  invalidate,
  incr,
  expire,
  log,
  webhook,
  warm,
  depends_on,
  metric,
  once
};

/// One call of a handler. Which fields count depends on the kind.
struct Effect {
  EffectKind kind = EffectKind::set;
  std::string key{};     // set del invalidate incr expire warm depends_on(child); log: channel;
                         // metric: name; once: id
  std::string value{};   // set: value; log: the JSON line without newline; webhook: body; once: which run claims it
  std::string url{};     // webhook, warm
  std::string method{};  // webhook; "POST" by default
  std::string secret{};  // webhook: HMAC-SHA256 key, empty: none
  std::vector<std::pair<std::string, std::string>> headers{};  // webhook, warm
  std::optional<std::int64_t> ttl_ms{};                        // set, expire, warm, once
  std::optional<double> cost{};                                // set, warm
  Metadata metadata{};                                         // set
  std::vector<std::string> depends_on{};                       // set, depends_on(parents)
  bool only_absent = false;                                    // set nx
  bool only_present = false;                                   // set xx
  std::int64_t delta = 0;                                      // incr
  double amount = 0;                                           // metric
  std::uint32_t timeout_ms = 0;                                // webhook; 0: the setting's default
  friend bool operator==(const Effect&, const Effect&) = default;
};

[[nodiscard]] std::string encode(const std::vector<Effect>& effects);
/// nullopt for bytes that encode() did not make of well-formed effects: the supervisor trusts no
/// executor.
[[nodiscard]] std::optional<std::vector<Effect>> decode_effects(std::string_view bytes);
/// False for an effect that no `cachee.` function makes: a channel that is no file name, a header
/// with a line break, a key past its bound.
[[nodiscard]] bool well_formed(const Effect& effect) noexcept;

// What names and addresses may look like; shared by the functions that make effects.
[[nodiscard]] bool is_plain_name(std::string_view name) noexcept;  // [A-Za-z0-9_.-], no leading dot
[[nodiscard]] bool is_http_url(std::string_view url) noexcept;
[[nodiscard]] bool is_http_token(std::string_view text) noexcept;  // method, header name
[[nodiscard]] bool is_header_value(std::string_view text) noexcept;
/// Of a header that frames the request, or for which receivers trust Cachee.
[[nodiscard]] bool is_reserved_header(std::string_view name) noexcept;

// One effect at a time, into memory of the caller's: what encode() makes is the version, then the effects.
inline constexpr char kEffectsVersion = 1;
[[nodiscard]] std::size_t encoded_bytes(const Effect& effect) noexcept;
/// Writes encoded_bytes() bytes.
void encode_effect(char* at, const Effect& effect) noexcept;
/// Where in them the value stands; meaningless for one without.
[[nodiscard]] std::size_t encoded_value_offset(const Effect& effect) noexcept;

}  // namespace cachee::daemon
