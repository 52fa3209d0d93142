// One HTTP request of an outbox row, on a libcurl handle.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/records.hpp"
#include "webhook/retry.hpp"
#include "webhook/settings.hpp"

namespace cachee::daemon {

inline constexpr std::uint64_t kAnswerBytesMax = 64 * 1024;  // of a webhook's answer; then hung up

/// The idempotency key: the same for every attempt at one effect of one event, different for any
/// two effects, and fit for a header whatever the trigger is called.
[[nodiscard]] std::string idempotency_key(const OutboxRow& row);

/// `Cachee-Signature` of a body: "sha256=" and the hex HMAC-SHA256 of timestamp, "." and body.
[[nodiscard]] std::string signature(std::string_view secret, std::string_view timestamp,
                                    std::string_view body);

/// All request headers but those of libcurl, as "Name: value".
[[nodiscard]] std::vector<std::string> request_headers(const OutboxRow& row,
                                                       std::int64_t now_wall_s);

/// The sentence that says why the settings forbid this URL; nullopt: they allow it (its address
/// is looked at when the connection is made).
[[nodiscard]] std::optional<std::string> refuse_url(const SenderSettings& settings,
                                                    const std::string& url);

class Request {
 public:
  /// `settings` and the row stay where they are while the request lives.
  /// @return nullptr when libcurl has no memory
  [[nodiscard]] static std::unique_ptr<Request> make(OutboxRow row, const SenderSettings& settings,
                                                     std::int64_t now_wall_s);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();

  [[nodiscard]] void* handle() const noexcept { return easy_; }  // a CURL*
  [[nodiscard]] const OutboxRow& row() const noexcept { return row_; }
  [[nodiscard]] std::string_view answer() const noexcept { return answer_; }
  /// After libcurl is done with it; `curl_code` is a CURLcode.
  [[nodiscard]] Attempt finish(int curl_code) const;

 private:
  struct Callbacks;
  Request(OutboxRow row, const SenderSettings& settings)
      : row_{std::move(row)}, settings_{settings} {}
  [[nodiscard]] bool prepare(std::int64_t now_wall_s);
  [[nodiscard]] bool prepare_body();

  OutboxRow row_;
  const SenderSettings& settings_;
  void* easy_ = nullptr;         // CURL*
  void* header_list_ = nullptr;  // curl_slist*
  std::string error_;            // CURL_ERROR_SIZE bytes
  std::string answer_{};
  bool answer_too_large_ = false;
  std::string refused_address_{};
  bool connected_ = false;  // some address was allowed
};

}  // namespace cachee::daemon
