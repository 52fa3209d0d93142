#include "script/cache_reader.hpp"

#include <cachee/cache.hpp>

namespace cachee::daemon {

Result<std::size_t> SegmentCacheReader::get(KeyView key, std::span<char> room) { return cache_.get_into(key, room); }

Result<std::optional<std::int64_t>> SegmentCacheReader::ttl_ms(KeyView key) {
  const auto ttl = cache_.ttl(key);
  if (!ttl) return ttl.error();
  if (!*ttl) return std::optional<std::int64_t>{};
  return std::optional<std::int64_t>{(*ttl)->count()};
}

}  // namespace cachee::daemon
