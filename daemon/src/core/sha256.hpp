// SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), for signatures, idempotency keys and chains of log
// lines. Our own, because it is one page and nothing else of a cryptography library is needed.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cachee::daemon {

using Sha256Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256() noexcept;
  void update(std::string_view bytes) noexcept;
  /// Ends the computation.
  [[nodiscard]] Sha256Digest finish() noexcept;

 private:
  void compress(const std::uint8_t* block) noexcept;
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t bytes_ = 0;
};

[[nodiscard]] Sha256Digest sha256(std::string_view bytes) noexcept;
/// Of the concatenation of `parts`.
[[nodiscard]] Sha256Digest hmac_sha256(std::string_view key,
                                       std::span<const std::string_view> parts) noexcept;
[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);

}  // namespace cachee::daemon
