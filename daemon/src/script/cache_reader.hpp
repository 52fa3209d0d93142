// CacheReader: what a handler may read of the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <cachee/result.hpp>
#include <cachee/types.hpp>

namespace cachee {
class Cache;
}

namespace cachee::daemon {

class CacheReader {
 public:
  virtual ~CacheReader() = default;
  /// Copies the value and says its size; one that is larger than the room is not copied. @error not_found
  [[nodiscard]] virtual Result<std::size_t> get(KeyView key, std::span<char> room) = 0;
  /// Remaining milliseconds; none inside: no deadline. @error not_found
  [[nodiscard]] virtual Result<std::optional<std::int64_t>> ttl_ms(KeyView key) = 0;
};

/// A cache without a key: where there is no segment to read.
class EmptyCacheReader final : public CacheReader {
 public:
  [[nodiscard]] Result<std::size_t> get(KeyView, std::span<char>) override { return Errc::not_found; }
  [[nodiscard]] Result<std::optional<std::int64_t>> ttl_ms(KeyView) override {
    return Errc::not_found;
  }
};

/// A read-only handle on the segment; must outlive it.
class SegmentCacheReader final : public CacheReader {
 public:
  explicit SegmentCacheReader(const Cache& cache) noexcept : cache_{cache} {}
  [[nodiscard]] Result<std::size_t> get(KeyView key, std::span<char> room) override;
  [[nodiscard]] Result<std::optional<std::int64_t>> ttl_ms(KeyView key) override;

 private:
  const Cache& cache_;
};

}  // namespace cachee::daemon
