// CacheReader: what a handler may read of the cache.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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
  /// Copies the value. @error not_found
  [[nodiscard]] virtual Result<void> get(KeyView key, std::string& out) = 0;
  /// Remaining milliseconds; none inside: no deadline. @error not_found
  [[nodiscard]] virtual Result<std::optional<std::int64_t>> ttl_ms(KeyView key) = 0;
};

/// A cache without a key: where there is no segment to read.
class EmptyCacheReader final : public CacheReader {
 public:
  [[nodiscard]] Result<void> get(KeyView, std::string&) override { return Errc::not_found; }
  [[nodiscard]] Result<std::optional<std::int64_t>> ttl_ms(KeyView) override {
    return Errc::not_found;
  }
};

/// A read-only handle on the segment; must outlive it.
class SegmentCacheReader final : public CacheReader {
 public:
  explicit SegmentCacheReader(const Cache& cache) noexcept : cache_{cache} {}
  [[nodiscard]] Result<void> get(KeyView key, std::string& out) override;
  [[nodiscard]] Result<std::optional<std::int64_t>> ttl_ms(KeyView key) override;

 private:
  const Cache& cache_;
};

}  // namespace cachee::daemon
