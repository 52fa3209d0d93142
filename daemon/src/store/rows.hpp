// Helpers that the store's sources share: columns to records and back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/records.hpp"
#include "store/sqlite.hpp"

namespace cachee::daemon {

using Headers = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] std::string encode_headers(const Headers& headers);
/// Empty for bytes that encode_headers() did not make.
[[nodiscard]] Headers decode_headers(std::string_view bytes);

/// Cut to kErrorTextBytesMax.
[[nodiscard]] inline std::string_view bounded_text(std::string_view text) noexcept {
  return text.substr(0, kErrorTextBytesMax);
}

}  // namespace cachee::daemon
