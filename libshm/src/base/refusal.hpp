// Which rule an argument broke: what Error::detail says of invalid_argument, and to_string() puts into
// words with the rule's limit.
#pragma once

#include <cstdint>

#include <cachee/result.hpp>

namespace cachee::base {

enum class Rule : std::uint8_t {
  unnamed,      // the code says it all
  key_bytes,    // limit: bytes that a key may have
  value_bytes,  // limit: bytes that a value of this segment may have
  fields,       // limit: metadata fields of one key
  parents,      // limit: dependencies of one key
  extra_bytes,  // limit: bytes of both together
  cost,
  own_parent,
  segment_name,
};

inline constexpr unsigned kRuleShift = 56;
inline constexpr std::uint64_t kRuleLimitMask = (std::uint64_t{1} << kRuleShift) - 1;

[[nodiscard]] constexpr Error refusal(Rule rule, std::uint64_t limit = 0) noexcept {
  return {Errc::invalid_argument, 0, std::uint64_t{static_cast<std::uint8_t>(rule)} << kRuleShift | (limit & kRuleLimitMask)};
}
[[nodiscard]] constexpr Rule broken_rule(const Error& error) noexcept {
  return error.code == Errc::invalid_argument ? static_cast<Rule>(error.detail >> kRuleShift) : Rule::unnamed;
}
[[nodiscard]] constexpr std::uint64_t rule_limit(const Error& error) noexcept { return error.detail & kRuleLimitMask; }

}  // namespace cachee::base
