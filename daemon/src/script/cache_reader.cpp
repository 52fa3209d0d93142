#include "script/cache_reader.hpp"

#include <utility>

#include <cachee/cache.hpp>

namespace cachee::daemon {

Result<void> SegmentCacheReader::get(KeyView key, std::string& out) {
  auto value = cache_.get(key);
  if (!value) return value.error();
  out = std::move(value->bytes);
  return {};
}

Result<std::optional<std::int64_t>> SegmentCacheReader::ttl_ms(KeyView key) {
  const auto ttl = cache_.ttl(key);
  if (!ttl) return ttl.error();
  if (!*ttl) return std::optional<std::int64_t>{};
  return std::optional<std::int64_t>{(*ttl)->count()};
}

}  // namespace cachee::daemon
