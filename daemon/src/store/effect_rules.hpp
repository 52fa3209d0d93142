// What a log, webhook or warm effect must look like before it is stored. The executor that sent it
// is not trusted: what would break a file, a header or a URL later is refused here, with words for
// the trigger's author.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "script/effects.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kChannelBytesMax = 64;
inline constexpr std::int64_t kLogChannelsMax = 1024;
inline constexpr std::size_t kLogLineBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kUrlBytesMax = 8192;
inline constexpr std::size_t kWebhookBodyBytesMax = std::size_t{16} << 20;
inline constexpr std::size_t kHeaderCountMax = 64;
inline constexpr std::size_t kHeaderBytesMax = 32768;  // all headers of one request
inline constexpr std::size_t kSecretBytesMax = 4096;
inline constexpr std::uint32_t kRequestMsMax = 600'000;

/// Channel names are file names: [a-z0-9_.-]{1,64}.
[[nodiscard]] bool is_channel_name(std::string_view name) noexcept;

/// One sentence about the first effect that breaks a rule; nullopt: all are good.
[[nodiscard]] std::optional<std::string> check_effects(const std::vector<Effect>& effects);

/// "name:port" of an http(s) URL in lower case, the default port left out; empty: not such a URL.
[[nodiscard]] std::string url_host(std::string_view url);

/// The line of a log file for a JSON object a handler logged: the object as it is, `"_event"` added
/// as its last field (unless the handler uses that name itself), and a line feed.
[[nodiscard]] std::string log_line(std::string_view object, std::string_view event_id);

}  // namespace cachee::daemon
