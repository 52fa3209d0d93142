#include "webhook/retry.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cachee::daemon {
namespace {

std::string describe(const Attempt& attempt) {
  if (!attempt.error.empty() && attempt.status != 0) {
    return fmt::format("HTTP status {}, then: {}", attempt.status, attempt.error);
  }
  if (!attempt.error.empty()) return attempt.error;
  const bool redirect = attempt.status >= 300 && attempt.status < 400;
  return fmt::format("HTTP status {}{}", attempt.status,
                     redirect ? " (redirects are not followed)" : "");
}

}  // namespace

std::int64_t backoff_ms(const SenderSettings& settings, std::uint32_t attempt, double jitter,
                        std::optional<std::int64_t> retry_after_ms) {
  constexpr std::uint32_t kDoublingsMax = 30;
  const std::uint32_t doublings = std::min(attempt == 0 ? 0 : attempt - 1, kDoublingsMax);
  const std::int64_t whole = std::min<std::int64_t>(
      std::int64_t{settings.backoff_min_ms} << doublings, settings.backoff_max_ms);
  const auto wait = static_cast<std::int64_t>(static_cast<double>(whole) * (0.5 + 0.5 * jitter));
  const std::int64_t asked =
      std::clamp<std::int64_t>(retry_after_ms.value_or(0), 0, settings.retry_after_max_ms);
  return std::max(wait, asked);
}

OutboxResult judge(const SenderSettings& settings, const OutboxRow& row, const Attempt& attempt,
                   std::int64_t now_wall_ms, double jitter) {
  OutboxResult result;
  result.id = row.id;
  result.attempts = row.attempts + 1;
  result.status = attempt.status;
  if (attempt.status >= 200 && attempt.status < 300 && attempt.error.empty()) {
    result.verdict = OutboxResult::Verdict::sent;
    return result;
  }
  const bool again = !attempt.final && (attempt.status < 300 || attempt.status == 408 ||
                                        attempt.status == 429 || attempt.status >= 500);
  result.error = describe(attempt);
  if (again && result.attempts < settings.attempts_max) {
    result.verdict = OutboxResult::Verdict::retry;
    result.next_attempt_wall_ms =
        now_wall_ms + backoff_ms(settings, result.attempts, jitter, attempt.retry_after_ms);
    return result;
  }
  if (again)
    result.error = fmt::format("given up after {} attempts: {}", result.attempts, result.error);
  result.verdict = OutboxResult::Verdict::dead;
  return result;
}

}  // namespace cachee::daemon
