#include "store/effect_rules.hpp"

#include <algorithm>

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

std::optional<std::string> check_log(const Effect& effect) {
  if (!is_plain_name(effect.key)) {
    return fmt::format(
        "cachee.log: \"{}\" cannot name a channel: 1 to {} of A-Z a-z 0-9 _ . - are"
        " allowed, no '.' in front",
        effect.key.substr(0, 2 * kEffectNameBytesMax), kEffectNameBytesMax);
  }
  const std::string_view line = effect.value;
  if (!well_formed(effect) || !line.starts_with('{') || !line.ends_with('}') ||
      !probe_object(line)) {
    return "cachee.log: the second argument must be a table with string keys";
  }
  return std::nullopt;
}

std::optional<std::string> check_request(const char* call, const Effect& effect) {
  if (!is_http_url(effect.url) || url_host(effect.url).empty()) {
    return fmt::format("{}: \"{}\" is not an http:// or https:// URL of at most {} bytes", call,
                       effect.url.substr(0, 200), kEffectUrlBytesMax);
  }
  for (const auto& [name, value] : effect.headers) {
    if (!is_http_token(name) || !is_header_value(value)) {
      return fmt::format("{}: header \"{}\" has characters that HTTP does not allow", call,
                         name.substr(0, 64));
    }
    if (is_reserved_header(name)) {
      return fmt::format("{}: header \"{}\" is set by Cachee alone", call, name);
    }
  }
  const bool tunnel = effect.method == "CONNECT" || effect.method == "TRACE";
  if (effect.kind == EffectKind::webhook && (tunnel || !is_http_token(effect.method))) {
    return fmt::format("{}: \"{}\" is no method to send an event with", call,
                       effect.method.substr(0, 32));
  }
  if (!well_formed(effect)) return fmt::format("{}: an option is out of its range", call);
  return std::nullopt;
}

}  // namespace

std::optional<std::string> check_effects(const std::vector<Effect>& effects) {
  for (const Effect& effect : effects) {
    std::optional<std::string> problem;
    switch (effect.kind) {
      case EffectKind::log:
        problem = check_log(effect);
        break;
      case EffectKind::webhook:
        problem = check_request("cachee.webhook", effect);
        break;
      case EffectKind::warm:
        problem = check_request("cachee.warm", effect);
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

void append_log_line(std::string_view object, std::string_view event_id, std::string& out) {
  // A name that stands nowhere as it is, and has no escape to stand for it, is no field.
  const bool may_have_field = object.find(kEventField) != std::string_view::npos || object.find('\\') != std::string_view::npos;
  if (may_have_field) {
    const auto probe = probe_object(object);
    if (!probe || probe->has_event_field) {
      out.append(object).append("\n");
      return;
    }
  }
  object.remove_suffix(1);  // the closing brace
  const bool empty = object[object.find_last_not_of(" \t")] == '{';
  out.append(object).append(empty ? "\"" : ",\"").append(kEventField).append("\":");
  const bool plain = std::none_of(event_id.begin(), event_id.end(), [](char c) {
    return c < ' ' || c > '~' || c == '"' || c == '\\';
  });
  if (plain) {
    out.append("\"").append(event_id).append("\"");
  } else {
    out += json(std::string{event_id}).dump();
  }
  out += "}\n";
}

}  // namespace cachee::daemon
