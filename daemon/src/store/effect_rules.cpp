#include "store/effect_rules.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cachee::daemon {
namespace {

using nlohmann::json;

constexpr std::string_view kEventField = "_event";

/// Walks a JSON text without building it: is it one object, and does it use our field's name?
class ObjectProbe : public nlohmann::json_sax<json> {
 public:
  bool is_object = false;
  bool has_event_field = false;

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    is_object = is_object || depth_ == 0;
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    has_event_field = has_event_field || (depth_ == 1 && name == kEventField);
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override { return value() && (++depth_, true); }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  bool value() const noexcept { return depth_ > 0; }  // the whole text must be an object
  std::size_t depth_ = 0;
};

std::optional<ObjectProbe> probe_object(std::string_view text) {
  ObjectProbe probe;
  if (!json::sax_parse(text, &probe) || !probe.is_object) return std::nullopt;
  return probe;
}

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

bool is_token(std::string_view text) noexcept {  // RFC 9110, 5.6.2
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool has_control_characters(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
}

/// Headers that frame the request or that receivers trust Cachee for.
bool is_reserved_header(std::string_view name) {
  constexpr std::array<std::string_view, 7> kReserved = {
      "host", "content-length", "transfer-encoding", "connection", "expect", "te", "upgrade"};
  const std::string plain = lowered(name);
  return plain.starts_with("cachee-") ||
         std::find(kReserved.begin(), kReserved.end(), plain) != kReserved.end();
}

std::optional<std::string> check_log(const Effect& effect) {
  if (!is_channel_name(effect.key)) {
    return fmt::format("cachee.log: channel \"{}\" is not [a-z0-9_.-]{{1,{}}}",
                       effect.key.substr(0, 2 * kChannelBytesMax), kChannelBytesMax);
  }
  if (effect.value.size() > kLogLineBytesMax) {
    return fmt::format("cachee.log: a line of {} bytes; at most {} are allowed",
                       effect.value.size(), kLogLineBytesMax);
  }
  const std::string_view line = effect.value;
  if (has_control_characters(line) || !line.starts_with('{') || !line.ends_with('}') ||
      !probe_object(line)) {
    return "cachee.log: the second argument must be a table with string keys";
  }
  return std::nullopt;
}

std::optional<std::string> check_headers(const char* call, const Effect& effect) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : effect.headers) {
    if (!is_token(name) || has_control_characters(value)) {
      return fmt::format("{}: header \"{}\" has characters that HTTP does not allow", call,
                         name.substr(0, 64));
    }
    if (is_reserved_header(name)) {
      return fmt::format("{}: header \"{}\" is set by Cachee alone", call, name);
    }
    bytes += name.size() + value.size() + 4;
  }
  if (effect.headers.size() > kHeaderCountMax || bytes > kHeaderBytesMax) {
    return fmt::format("{}: at most {} headers of {} bytes in all", call, kHeaderCountMax,
                       kHeaderBytesMax);
  }
  return std::nullopt;
}

std::optional<std::string> check_request(const char* call, const Effect& effect) {
  const bool plain = std::all_of(effect.url.begin(), effect.url.end(),
                                 [](char c) { return c > 0x20 && c < 0x7f; });
  if (effect.url.size() > kUrlBytesMax || !plain || url_host(effect.url).empty()) {
    return fmt::format("{}: \"{}\" is not an http:// or https:// URL of at most {} bytes", call,
                       effect.url.substr(0, 200), kUrlBytesMax);
  }
  if (effect.timeout_ms > kRequestMsMax) {
    return fmt::format("{}: a timeout of {} ms; at most {} are allowed", call, effect.timeout_ms,
                       kRequestMsMax);
  }
  return check_headers(call, effect);
}

std::optional<std::string> check_webhook(const Effect& effect) {
  constexpr const char* kCall = "cachee.webhook";
  constexpr std::array<std::string_view, 5> kMethods = {"POST", "PUT", "PATCH", "DELETE", "GET"};
  if (!effect.method.empty() &&
      std::find(kMethods.begin(), kMethods.end(), effect.method) == kMethods.end()) {
    return fmt::format("{}: method \"{}\" is none of POST PUT PATCH DELETE GET", kCall,
                       effect.method.substr(0, 32));
  }
  if (effect.value.size() > kWebhookBodyBytesMax) {
    return fmt::format("{}: a body of {} bytes; at most {} are allowed", kCall, effect.value.size(),
                       kWebhookBodyBytesMax);
  }
  if (effect.secret.size() > kSecretBytesMax) {
    return fmt::format("{}: a secret of {} bytes; at most {} are allowed", kCall,
                       effect.secret.size(), kSecretBytesMax);
  }
  return check_request(kCall, effect);
}

std::optional<std::string> check_warm(const Effect& effect) {
  constexpr const char* kCall = "cachee.warm";
  if (effect.key.size() > kKeyBytesMax) {
    return fmt::format("{}: a key of {} bytes; at most {} are allowed", kCall, effect.key.size(),
                       kKeyBytesMax);
  }
  if (effect.ttl_ms && *effect.ttl_ms <= 0) {
    return fmt::format("{}: ttl must be above zero", kCall);
  }
  if (effect.cost && !(*effect.cost > 0)) {
    return fmt::format("{}: cost must be above zero", kCall);
  }
  return check_request(kCall, effect);
}

}  // namespace

bool is_channel_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kChannelBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                  c == '-';
         });
}

std::optional<std::string> check_effects(const std::vector<Effect>& effects) {
  for (const Effect& effect : effects) {
    std::optional<std::string> problem;
    switch (effect.kind) {
      case EffectKind::log:
        problem = check_log(effect);
        break;
      case EffectKind::webhook:
        problem = check_webhook(effect);
        break;
      case EffectKind::warm:
        problem = check_warm(effect);
        break;
      default:
        break;  // not stored
    }
    if (problem) return problem;
  }
  return std::nullopt;
}

std::string url_host(std::string_view url) {
  const auto mark = url.find("://");
  if (mark == std::string_view::npos) return {};
  const std::string scheme = lowered(url.substr(0, mark));
  if (scheme != "http" && scheme != "https") return {};
  std::string_view authority = url.substr(mark + 3);
  authority = authority.substr(0, authority.find_first_of("/?#\\"));
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    authority.remove_prefix(at + 1);
  }
  const std::string_view default_port = scheme == "http" ? ":80" : ":443";
  if (authority.ends_with(default_port)) authority.remove_suffix(default_port.size());
  if (authority.ends_with(':')) authority.remove_suffix(1);
  return lowered(authority);
}

std::string log_line(std::string_view object, std::string_view event_id) {
  std::string line{object};
  const auto probe = probe_object(object);
  if (probe && !probe->has_event_field) {
    line.pop_back();  // the closing brace
    const auto last = line.find_last_not_of(" \t");
    const bool empty = line[last] == '{';
    line += fmt::format("{}\"{}\":{}}}", empty ? "" : ",", kEventField,
                        json(std::string{event_id}).dump());
  }
  return line += '\n';
}

}  // namespace cachee::daemon
