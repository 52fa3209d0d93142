// What a log, webhook or warm effect must look like before it is stored, beyond well_formed() of
// script/effects.hpp: what would break a file or a request later is refused here, with words for
// the trigger's author.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "script/effects.hpp"

namespace cachee::daemon {

inline constexpr std::int64_t kLogChannelsMax = 1024;  // their files stay for ever

/// One sentence about the first effect that breaks a rule; nullopt: all are good.
[[nodiscard]] std::optional<std::string> check_effects(const std::vector<Effect>& effects);

/// "name:port" of an http(s) URL in lower case, the default port left out; empty: not such a URL.
[[nodiscard]] std::string url_host(std::string_view url);

/// Appends the line of a log file for a JSON object that check_effects() let pass: the object as it is, `"_event"`
/// added as its last field (unless the handler uses that name itself), and a line feed.
void append_log_line(std::string_view object, std::string_view event_id, std::string& out);

}  // namespace cachee::daemon
