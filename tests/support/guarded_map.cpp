#include "support/guarded_map.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include <sys/mman.h>

extern "C" {
void* __real_mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void* at, std::size_t bytes);
}

namespace {

constexpr std::size_t kGuardBytes = std::size_t{1} << 20;  // more than any block of any size class

/// A place for mappings of one size; kept for the next one, so that a long run does not fill the
/// table of mappings.
struct Place {
  char* inner = nullptr;
  std::size_t bytes = 0;
  bool taken = false;
};
std::mutex g_mutex;
unsigned g_made = 0;

std::vector<Place>& places() {
  static std::vector<Place> all;
  return all;
}

Place* find_place(std::size_t bytes) {
  for (Place& place : places()) {
    if (!place.taken && place.bytes == bytes) return &place;
  }
  void* const reserved =
      __real_mmap(nullptr, bytes + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  places().push_back({static_cast<char*>(reserved) + kGuardBytes, bytes, false});
  return &places().back();
}

}  // namespace

namespace cachee::test {
unsigned guarded_maps_made() noexcept {
  const std::lock_guard lock{g_mutex};
  return g_made;
}
}  // namespace cachee::test

extern "C" {

void* __wrap_mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (at != nullptr || fd < 0 || (flags & MAP_SHARED) == 0) return __real_mmap(at, bytes, protection, flags, fd, offset);
  const std::lock_guard lock{g_mutex};
  const std::size_t whole = (bytes + 4095) / 4096 * 4096;
  Place* const place = find_place(whole);
  if (place == nullptr) return MAP_FAILED;
  void* const mapped = __real_mmap(place->inner, bytes, protection, flags | MAP_FIXED, fd, offset);
  if (mapped == MAP_FAILED) return MAP_FAILED;
  place->taken = true;
  ++g_made;
  return mapped;
}

int __wrap_munmap(void* at, std::size_t bytes) {
  const std::lock_guard lock{g_mutex};
  for (Place& place : places()) {
    if (place.inner != at || !place.taken) continue;
    place.taken = false;
    const void* const empty = __real_mmap(at, place.bytes, PROT_NONE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return empty == MAP_FAILED ? -1 : 0;
  }
  return __real_munmap(at, bytes);
}

}  // extern "C"
