// The words that describe a trigger: `<pattern> <EVENT>[,<EVENT>…] [option]…`, as TRIGGER REGISTER
// and the headers of triggers.d/*.lua use them. Pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/triggers.hpp>

#include "core/outcome.hpp"

namespace cachee::daemon {

inline constexpr std::uint32_t kTriggerBlockMsMax = 3'600'000;
inline constexpr std::uint32_t kTriggerAttemptsMax = 1000;
inline constexpr std::uint32_t kTriggerBackoffMsMax = 86'400'000;
inline constexpr std::uint32_t kTriggerTimeoutMsMax = 3'600'000;
inline constexpr std::uint64_t kTriggerMemoryBytesMin = std::uint64_t{64} << 10;
inline constexpr std::uint64_t kTriggerMemoryBytesMax = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kTriggerStepsMin = 1;
inline constexpr std::uint64_t kTriggerStepsMax = 1'000'000'000'000;
inline constexpr std::uint32_t kTriggerSampleMax = 1'000'000'000;
inline constexpr std::uint32_t kTriggerDepthMax = 64;
inline constexpr std::uint32_t kGroupDeadlineMsDefault = 30'000;
inline constexpr std::uint32_t kGroupDeadlineMsMax = 86'400'000;

/// "ON_WRITE,ON_EXPIRE", in the order of EventKind.
[[nodiscard]] std::string event_names(EventMask events);
/// A comma list of events in any case. The failure names the bad word and what was expected.
/// `as_written`: the names in capitals, each once, in the order of the text.
[[nodiscard]] Outcome<EventMask> parse_event_names(std::string_view text,
                                                   std::string* as_written = nullptr);

/// A spec without source. The failure (invalid_argument) names the bad word and what was expected.
[[nodiscard]] Outcome<TriggerSpec> parse_trigger_words(std::span<const std::string_view> words);

/// The same of a consumer group: `<name> <pattern> <EVENT>[,<EVENT>…] [option]…`, as GROUP CREATE takes it.
[[nodiscard]] Outcome<TriggerSpec> parse_group_words(std::span<const std::string_view> words);

/// The words that parse_trigger_words (of a group: parse_group_words) reads back as the same spec; options that have their default
/// are left out. PAUSE is no option of a registration and is not among them.
[[nodiscard]] std::vector<std::string> trigger_words(const TriggerSpec& spec);

/// Names of the options, for completion, headers and messages.
[[nodiscard]] std::span<const std::string_view> trigger_option_names() noexcept;

}  // namespace cachee::daemon
