// Base64 (RFC 4648, with padding): how bytes that are not text travel in JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachee::daemon {

[[nodiscard]] std::string base64_encode(std::string_view bytes);
/// nullopt for anything that base64_encode did not make.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

}  // namespace cachee::daemon
