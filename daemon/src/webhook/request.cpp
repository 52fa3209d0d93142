#include "webhook/request.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <nlohmann/json.hpp>

#include <cachee/triggers.hpp>
#include <cachee/version.hpp>

#include "core/sha256.hpp"
#include "webhook/address.hpp"

namespace cachee::daemon {
namespace {

constexpr long kConnectionAgeSecondsMax = 600;  // then a name is looked up again

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_name(std::string_view left, std::string_view right) noexcept {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

bool has_header(const OutboxRow& row, std::string_view name) noexcept {
  return std::any_of(row.headers.begin(), row.headers.end(),
                     [&](const auto& header) { return same_name(header.first, name); });
}

/// Printable ASCII as it is, anything else and '%' as %XX: a trigger may be called anything.
std::string header_safe(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = c >= 0x20 && c < 0x7f && c != '%';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

/// A handler's table arrives as its JSON text; a handler's string is taken for what it looks like.
std::string_view content_type(std::string_view body) {
  const auto first = body.find_first_not_of(" \t\r\n");
  const bool structure =
      first != std::string_view::npos && (body[first] == '{' || body[first] == '[');
  return structure && nlohmann::json::accept(body) ? "application/json"
                                                   : "text/plain; charset=utf-8";
}

std::string address_text(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address->sa_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  } else if (address->sa_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  }
  if (bytes == nullptr ||
      ::inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr) {
    return "of an unknown family";
  }
  return text.data();
}

const std::string& user_agent() {
  static const std::string text = fmt::format("cacheed/{}", kVersion);
  return text;
}

template <class T>
bool set(CURL* easy, CURLoption option, T value) noexcept {
  return curl_easy_setopt(easy, option, value) == CURLE_OK;
}

}  // namespace

std::string idempotency_key(const OutboxRow& row) {
  constexpr std::size_t kTriggerBytes = 8;
  const Sha256Digest digest = sha256(row.trigger);
  return fmt::format("{}-{}-{}", row.event_id, to_hex(std::span{digest}.first(kTriggerBytes)),
                     row.n);
}

std::string signature(std::string_view secret, std::string_view timestamp, std::string_view body) {
  const std::array<std::string_view, 3> parts = {timestamp, ".", body};
  return "sha256=" + to_hex(hmac_sha256(secret, parts));
}

std::vector<std::string> request_headers(const OutboxRow& row, std::int64_t now_wall_s) {
  std::vector<std::string> headers;
  for (const auto& [name, value] : row.headers) {
    // libcurl's spelling of a header without a value ends in a semicolon.
    headers.push_back(value.empty() ? name + ";" : name + ": " + value);
  }
  headers.push_back("Cachee-Event-Id: " + header_safe(row.event_id));
  headers.push_back("Cachee-Trigger: " + header_safe(row.trigger));
  if (row.kind == OutboxKind::warm) return headers;
  const std::string timestamp = std::to_string(now_wall_s);
  headers.push_back("Cachee-Timestamp: " + timestamp);
  if (!has_header(row, "Idempotency-Key")) {
    headers.push_back("Idempotency-Key: " + idempotency_key(row));
  }
  if (!row.secret.empty()) {
    headers.push_back("Cachee-Signature: " + signature(row.secret, timestamp, row.body));
  }
  if (!row.body.empty() && !has_header(row, "Content-Type")) {
    headers.push_back(fmt::format("Content-Type: {}", content_type(row.body)));
  }
  headers.emplace_back("Expect:");  // no second round trip before a large body
  return headers;
}

std::optional<std::string> refuse_url(const SenderSettings& settings, const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed{curl_url(), curl_url_cleanup};
  char* raw = nullptr;
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), CURLUPART_HOST, &raw, 0) != CURLUE_OK) {
    return fmt::format("not a URL: {}", url);
  }
  std::string host{raw};
  curl_free(raw);
  std::transform(host.begin(), host.end(), host.begin(), lower);
  if (host.ends_with('.')) host.pop_back();
  const auto& allowed = settings.allow_hosts;
  if (allowed.empty() || std::any_of(allowed.begin(), allowed.end(), [&](const std::string& glob) {
        return glob_match(glob, host);
      })) {
    return std::nullopt;
  }
  return fmt::format("host \"{}\" is not in the setting allow_hosts", host);
}

/// What libcurl calls back.
struct Request::Callbacks {
  static std::size_t on_answer(char* bytes, std::size_t, std::size_t count, void* self) noexcept {
    auto& request = *static_cast<Request*>(self);
    const bool warm = request.row_.kind == OutboxKind::warm;
    const std::uint64_t bytes_max = warm ? request.settings_.warm_bytes_max : kAnswerBytesMax;
    if (request.answer_.size() + count > bytes_max) {
      request.answer_too_large_ = true;
      return 0;
    }
    try {
      request.answer_.append(bytes, count);
    } catch (...) {  // out of memory: libcurl ends the transfer, it is tried again
      return 0;
    }
    return count;
  }

  /// The place where the true address of the connection is known, after every DNS trick.
  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address) noexcept {
    auto& request = *static_cast<Request*>(self);
    if (!request.settings_.allow_private && is_private_address(&address->addr)) {
      try {
        request.refused_address_ = address_text(&address->addr);
      } catch (...) {
      }
      return CURL_SOCKET_BAD;
    }
    request.connected_ = true;
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }
};

std::unique_ptr<Request> Request::make(OutboxRow row, const SenderSettings& settings,
                                       std::int64_t now_wall_s) {
  std::unique_ptr<Request> request{new Request{std::move(row), settings}};
  if (!request->prepare(now_wall_s)) return nullptr;
  return request;
}

Request::~Request() {
  curl_easy_cleanup(easy_);
  curl_slist_free_all(static_cast<curl_slist*>(header_list_));
}

bool Request::prepare(std::int64_t now_wall_s) {
  CURL* const easy = curl_easy_init();
  easy_ = easy;
  if (easy == nullptr) return false;
  for (const std::string& header : request_headers(row_, now_wall_s)) {
    auto* const longer = curl_slist_append(static_cast<curl_slist*>(header_list_), header.c_str());
    if (longer == nullptr) return false;
    header_list_ = longer;
  }
  error_.resize(CURL_ERROR_SIZE);
  const long timeout_ms =
      std::min(row_.timeout_ms != 0 ? row_.timeout_ms : settings_.timeout_ms, kRequestMsMax);
  return set(easy, CURLOPT_URL, row_.url.c_str()) &&
         set(easy, CURLOPT_PROTOCOLS_STR, "http,https") && set(easy, CURLOPT_FOLLOWLOCATION, 0L) &&
         // A proxy would hide the receiver's address from on_socket().
         set(easy, CURLOPT_PROXY, "") && set(easy, CURLOPT_NOSIGNAL, 1L) &&
         set(easy, CURLOPT_QUICK_EXIT, 1L) && set(easy, CURLOPT_TIMEOUT_MS, timeout_ms) &&
         set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.connect_timeout_ms)) &&
         set(easy, CURLOPT_MAXLIFETIME_CONN, kConnectionAgeSecondsMax) &&
         set(easy, CURLOPT_USERAGENT, user_agent().c_str()) &&
         set(easy, CURLOPT_ERRORBUFFER, error_.data()) &&
         set(easy, CURLOPT_HTTPHEADER, header_list_) &&
         set(easy, CURLOPT_WRITEFUNCTION, &Callbacks::on_answer) &&
         set(easy, CURLOPT_WRITEDATA, this) &&
         set(easy, CURLOPT_OPENSOCKETFUNCTION, &Callbacks::on_socket) &&
         set(easy, CURLOPT_OPENSOCKETDATA, this) && set(easy, CURLOPT_PRIVATE, this) &&
         prepare_body();
}

bool Request::prepare_body() {
  if (row_.method == "GET" && row_.body.empty()) return set(easy_, CURLOPT_HTTPGET, 1L);
  if (row_.method == "HEAD") return set(easy_, CURLOPT_NOBODY, 1L);
  return set(easy_, CURLOPT_POST, 1L) &&
         set(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(row_.body.size())) &&
         set(easy_, CURLOPT_POSTFIELDS, row_.body.c_str()) &&
         set(easy_, CURLOPT_CUSTOMREQUEST, row_.method.c_str());
}

Attempt Request::finish(int curl_code) const {
  Attempt attempt;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  attempt.status = static_cast<std::int32_t>(status);
  curl_off_t took_us = 0;
  if (curl_easy_getinfo(easy_, CURLINFO_TOTAL_TIME_T, &took_us) == CURLE_OK && took_us > 0) {
    attempt.took_us = static_cast<std::uint64_t>(took_us);
  }
  curl_off_t retry_after_s = 0;
  constexpr curl_off_t kRetryAfterSecondsMax = 1'000'000;
  if (curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK &&
      retry_after_s > 0) {
    attempt.retry_after_ms = std::min(retry_after_s, kRetryAfterSecondsMax) * 1000;
  }
  const auto code = static_cast<CURLcode>(curl_code);
  // A webhook has arrived when its status has: what is wrong with the rest of the answer is not.
  const bool webhook = row_.kind == OutboxKind::webhook;
  if (code == CURLE_OK || (webhook && status >= 200)) return attempt;
  if (answer_too_large_) {
    attempt.error = fmt::format("the body is larger than {} bytes", settings_.warm_bytes_max);
    attempt.final = true;
  } else if (!refused_address_.empty() && !connected_) {
    attempt.error = fmt::format(
        "address {} is loopback, private or reserved, and the setting allow_private is off",
        refused_address_);
    attempt.final = true;
  } else {
    attempt.error = error_[0] != '\0' ? error_.c_str() : curl_easy_strerror(code);
    attempt.final = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
  }
  return attempt;
}

}  // namespace cachee::daemon
