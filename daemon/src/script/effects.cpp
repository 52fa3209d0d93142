#include "script/effects.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "core/units.hpp"

namespace cachee::daemon {
namespace {

static_assert(std::endian::native == std::endian::little, "effects are little-endian");

constexpr std::size_t kLengthBytes = sizeof(std::uint32_t);
constexpr std::size_t kHeadBytes = kLengthBytes + sizeof(std::uint8_t) + sizeof(std::uint16_t);

// Bits of the mask, in the order in which the fields stand.
enum Field : std::uint16_t {
  kKey = 1 << 0,
  kValue = 1 << 1,
  kUrl = 1 << 2,
  kMethod = 1 << 3,
  kSecret = 1 << 4,
  kHeaders = 1 << 5,
  kTtl = 1 << 6,
  kCost = 1 << 7,
  kMetadata = 1 << 8,
  kDependsOn = 1 << 9,
  kOnlyAbsent = 1 << 10,
  kOnlyPresent = 1 << 11,
  kDelta = 1 << 12,
  kAmount = 1 << 13,
  kTimeout = 1 << 14,
  kAllFields = (1 << 15) - 1,
};

/// Writes to memory that is known to suffice.
class Encoder {
 public:
  explicit Encoder(char* at) noexcept : at_{at} {}

  template <class T>
  void put(T value) noexcept {
    static_assert(std::is_arithmetic_v<T>);
    std::memcpy(at_, &value, sizeof(T));
    at_ += sizeof(T);
  }
  void put_string(std::string_view text) noexcept {
    put(static_cast<std::uint32_t>(text.size()));
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void put_pairs(const std::vector<std::pair<std::string, std::string>>& pairs) noexcept {
    put(static_cast<std::uint32_t>(pairs.size()));
    for (const auto& [name, value] : pairs) {
      put_string(name);
      put_string(value);
    }
  }

 private:
  char* at_;
};

constexpr std::size_t string_bytes(std::string_view text) noexcept { return kLengthBytes + text.size(); }

std::size_t pairs_bytes(const std::vector<std::pair<std::string, std::string>>& pairs) noexcept {
  std::size_t bytes = kLengthBytes;
  for (const auto& [name, value] : pairs) bytes += string_bytes(name) + string_bytes(value);
  return bytes;
}

/// A zero amount has its default only when its bits have: -0.0 is kept.
bool is_default(double amount) noexcept { return std::bit_cast<std::uint64_t>(amount) == 0; }

std::uint16_t fields_of(const Effect& effect) noexcept {
  const auto bit = [](bool present, Field field) -> unsigned {
    return present ? unsigned{field} : 0U;
  };
  return static_cast<std::uint16_t>(
      bit(!effect.key.empty(), kKey) | bit(!effect.value.empty(), kValue) |
      bit(!effect.url.empty(), kUrl) | bit(!effect.method.empty(), kMethod) |
      bit(!effect.secret.empty(), kSecret) | bit(!effect.headers.empty(), kHeaders) |
      bit(effect.ttl_ms.has_value(), kTtl) | bit(effect.cost.has_value(), kCost) |
      bit(!effect.metadata.empty(), kMetadata) | bit(!effect.depends_on.empty(), kDependsOn) |
      bit(effect.only_absent, kOnlyAbsent) | bit(effect.only_present, kOnlyPresent) |
      bit(effect.delta != 0, kDelta) | bit(!is_default(effect.amount), kAmount) |
      bit(effect.timeout_ms != 0, kTimeout));
}

/// Reads what put() wrote. After the first damage every get returns a default and `failed` says so;
/// nothing is allocated beyond the input's size.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) noexcept : rest_{bytes} {}

  template <class T>
  T get() noexcept {
    T value{};
    if (rest_.size() < sizeof(T)) {
      fail();
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view get_view(std::size_t bytes) noexcept {
    if (bytes > rest_.size()) {
      fail();
      return {};
    }
    const std::string_view view = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return view;
  }
  std::string get_string() { return std::string{get_view(get<std::uint32_t>())}; }
  /// A list that is there is not empty; each item takes at least `item_bytes_min`.
  std::uint32_t get_count(std::size_t item_bytes_min) noexcept {
    const auto count = get<std::uint32_t>();
    if (count == 0 || count > rest_.size() / item_bytes_min) {
      fail();
      return 0;
    }
    return count;
  }
  void get_pairs(std::vector<std::pair<std::string, std::string>>& out) {
    const std::uint32_t count = get_count(2 * kLengthBytes);
    out.reserve(count);
    for (std::uint32_t i = 0; i < count && !failed_; ++i) {
      std::string name = get_string();
      std::string value = get_string();
      out.emplace_back(std::move(name), std::move(value));
    }
  }
  void fail() noexcept {
    failed_ = true;
    rest_ = {};
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

Effect decode_one(Decoder& in) {
  Effect effect;
  const auto kind = in.get<std::uint8_t>();
  if (kind < static_cast<std::uint8_t>(EffectKind::set) ||
      kind > static_cast<std::uint8_t>(EffectKind::once)) {
    in.fail();
    return effect;
  }
  effect.kind = static_cast<EffectKind>(kind);
  const auto fields = in.get<std::uint16_t>();
  if ((fields & ~unsigned{kAllFields}) != 0) in.fail();
  if (fields & kKey) effect.key = in.get_string();
  if (fields & kValue) effect.value = in.get_string();
  if (fields & kUrl) effect.url = in.get_string();
  if (fields & kMethod) effect.method = in.get_string();
  if (fields & kSecret) effect.secret = in.get_string();
  if (fields & kHeaders) in.get_pairs(effect.headers);
  if (fields & kTtl) effect.ttl_ms = in.get<std::int64_t>();
  if (fields & kCost) effect.cost = in.get<double>();
  if (fields & kMetadata) in.get_pairs(effect.metadata);
  if (fields & kDependsOn) {
    const std::uint32_t count = in.get_count(kLengthBytes);
    effect.depends_on.reserve(count);
    for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
      effect.depends_on.push_back(in.get_string());
    }
  }
  effect.only_absent = (fields & kOnlyAbsent) != 0;
  effect.only_present = (fields & kOnlyPresent) != 0;
  if (fields & kDelta) effect.delta = in.get<std::int64_t>();
  if (fields & kAmount) effect.amount = in.get<double>();
  if (fields & kTimeout) effect.timeout_ms = in.get<std::uint32_t>();
  // A field that is there but has its default is an encoding that encode() does not make.
  if (!in.failed() && (fields_of(effect) != fields || !well_formed(effect))) in.fail();
  return effect;
}

bool is_alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool headers_ok(const Effect& effect) noexcept {
  std::size_t bytes = 0;
  for (const auto& [name, value] : effect.headers) bytes += name.size() + value.size();
  return effect.headers.size() <= kEffectHeadersMax && bytes <= kEffectHeaderBytesMax &&
         std::all_of(effect.headers.begin(), effect.headers.end(), [](const auto& header) {
           return is_http_token(header.first) && is_header_value(header.second);
         });
}

bool metadata_ok(const Effect& effect) noexcept {
  std::size_t bytes = 0;
  for (const auto& [field, value] : effect.metadata) bytes += field.size() + value.size();
  for (const std::string& parent : effect.depends_on) {
    if (parent.size() > kKeyBytesMax) return false;
    bytes += parent.size();
  }
  return effect.metadata.size() <= kMetadataFieldsMax &&
         effect.depends_on.size() <= kDependenciesMax && bytes <= kMetadataBytesMax;
}

}  // namespace

bool is_plain_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kEffectNameBytesMax && name.front() != '.' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_http_url(std::string_view url) noexcept {
  const std::size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  return scheme != 0 && url.size() > scheme && url.size() <= kEffectUrlBytesMax &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c != 0x7f; });
}

bool is_http_token(std::string_view text) noexcept {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && text.size() <= kEffectNameBytesMax * 2 &&
         std::all_of(text.begin(), text.end(), [kMarks](char c) {
           return is_alphanumeric(c) || kMarks.find(c) != std::string_view::npos;
         });
}

bool is_header_value(std::string_view text) noexcept {
  return text.size() <= kEffectUrlBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
           return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
         });
}

bool is_reserved_header(std::string_view name) noexcept {
  constexpr std::string_view kOurs = "cachee-";
  constexpr std::string_view kReserved[] = {"host", "content-length", "transfer-encoding", "connection", "expect", "te", "upgrade"};
  return equal_ignoring_case(name.substr(0, kOurs.size()), kOurs) ||
         std::any_of(std::begin(kReserved), std::end(kReserved), [name](std::string_view other) { return equal_ignoring_case(name, other); });
}

bool well_formed(const Effect& effect) noexcept {
  if (effect.key.size() > kKeyBytesMax || !metadata_ok(effect) || !headers_ok(effect)) return false;
  if (effect.cost && !(std::isfinite(*effect.cost) && *effect.cost > 0)) return false;
  switch (effect.kind) {
    case EffectKind::set:
      return effect.ttl_ms.value_or(1) > 0 && !(effect.only_absent && effect.only_present);
    case EffectKind::del:
    case EffectKind::invalidate:
    case EffectKind::incr:
      return true;
    case EffectKind::expire:
      return effect.ttl_ms.has_value();
    case EffectKind::log:
      return is_plain_name(effect.key) && !effect.value.empty() &&
             std::all_of(effect.value.begin(), effect.value.end(),
                         [](char c) { return static_cast<unsigned char>(c) >= ' '; });
    case EffectKind::webhook:
      return is_http_url(effect.url) && is_http_token(effect.method);
    case EffectKind::warm:
      return is_http_url(effect.url) && effect.ttl_ms.value_or(1) > 0;
    case EffectKind::depends_on:
      return !effect.depends_on.empty();
    case EffectKind::metric:
      return is_plain_name(effect.key) && std::isfinite(effect.amount);
    case EffectKind::once:
      return effect.ttl_ms.value_or(0) > 0 && !effect.key.empty() &&
             effect.key.size() + kOnceKeyPrefix.size() <= kKeyBytesMax;
  }
  return false;
}

std::size_t encoded_bytes(const Effect& effect) noexcept {
  const std::uint16_t fields = fields_of(effect);
  std::size_t bytes = kHeadBytes;
  for (const auto& [field, text] : {std::pair{kKey, &effect.key}, std::pair{kValue, &effect.value}, std::pair{kUrl, &effect.url},
                                    std::pair{kMethod, &effect.method}, std::pair{kSecret, &effect.secret}}) {
    if (fields & field) bytes += string_bytes(*text);
  }
  if (fields & kHeaders) bytes += pairs_bytes(effect.headers);
  if (fields & kTtl) bytes += sizeof(*effect.ttl_ms);
  if (fields & kCost) bytes += sizeof(*effect.cost);
  if (fields & kMetadata) bytes += pairs_bytes(effect.metadata);
  if (fields & kDependsOn) {
    bytes += kLengthBytes;
    for (const std::string& parent : effect.depends_on) bytes += string_bytes(parent);
  }
  if (fields & kDelta) bytes += sizeof(effect.delta);
  if (fields & kAmount) bytes += sizeof(effect.amount);
  if (fields & kTimeout) bytes += sizeof(effect.timeout_ms);
  return bytes;
}

void encode_effect(char* at, const Effect& effect) noexcept {
  const std::uint16_t fields = fields_of(effect);
  Encoder out{at};
  out.put(static_cast<std::uint32_t>(encoded_bytes(effect) - kLengthBytes));
  out.put(static_cast<std::uint8_t>(effect.kind));
  out.put(fields);
  if (fields & kKey) out.put_string(effect.key);
  if (fields & kValue) out.put_string(effect.value);
  if (fields & kUrl) out.put_string(effect.url);
  if (fields & kMethod) out.put_string(effect.method);
  if (fields & kSecret) out.put_string(effect.secret);
  if (fields & kHeaders) out.put_pairs(effect.headers);
  if (fields & kTtl) out.put(*effect.ttl_ms);
  if (fields & kCost) out.put(*effect.cost);
  if (fields & kMetadata) out.put_pairs(effect.metadata);
  if (fields & kDependsOn) {
    out.put(static_cast<std::uint32_t>(effect.depends_on.size()));
    for (const std::string& parent : effect.depends_on) out.put_string(parent);
  }
  if (fields & kDelta) out.put(effect.delta);
  if (fields & kAmount) out.put(effect.amount);
  if (fields & kTimeout) out.put(effect.timeout_ms);
}

std::size_t encoded_value_offset(const Effect& effect) noexcept {
  return kHeadBytes + (effect.key.empty() ? 0 : string_bytes(effect.key)) + kLengthBytes;
}

std::string encode(const std::vector<Effect>& effects) {
  std::string bytes(1, kEffectsVersion);
  for (const Effect& effect : effects) {
    const std::size_t at = bytes.size();
    bytes.resize(at + encoded_bytes(effect));
    encode_effect(bytes.data() + at, effect);
  }
  return bytes;
}

std::optional<std::vector<Effect>> decode_effects(std::string_view bytes) {
  if (bytes.empty() || bytes.front() != kEffectsVersion) return std::nullopt;
  Decoder in{bytes.substr(1)};
  std::vector<Effect> effects;
  while (!in.empty()) {
    if (effects.size() == kEffectsMax) return std::nullopt;
    Decoder one{in.get_view(in.get<std::uint32_t>())};
    effects.push_back(decode_one(one));
    if (in.failed() || one.failed() || !one.empty()) return std::nullopt;
  }
  return effects;
}

}  // namespace cachee::daemon
