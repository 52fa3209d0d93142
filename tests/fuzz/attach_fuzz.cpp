// Claim: attach_segment() accepts a header or names what is wrong, for any bytes, and every region of
// a header that it accepts lies within the mapping.
// The input is written over the fixed part of a good header; its first two bytes say from where, and
// the third how large the mapping is.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "layout/fingerprint.hpp"
#include "layout/geometry.hpp"
#include "segment/segment.hpp"

namespace {

using namespace cachee;

constexpr std::uint64_t kBytes = std::uint64_t{1} << 20;

struct alignas(4096) Page {
  std::byte bytes[4096];
};

std::vector<Page>& good_segment() {
  static std::vector<Page> pages = [] {
    std::vector<Page> made(kBytes / sizeof(Page));
    std::memset(static_cast<void*>(made.data()), 0, kBytes);
    const auto shape = layout::compute_shape({.segment_bytes = kBytes, .value_bytes_max = 1 << 16, .ring_events = 256,
                                              .clients_max = 8, .bucket_count = 0, .page_bytes = 0});
    if (!shape) std::abort();
    shm::format_segment(made[0].bytes, *shape);
    return made;
  }();
  return pages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  auto pages = std::make_unique<Page>();  // the header alone: nothing else may decide
  std::memcpy(pages->bytes, good_segment()[0].bytes, sizeof(Page));
  const std::size_t from = (std::size_t{data[0]} + std::size_t{data[1]} * 256) % 1024;
  const std::size_t bytes = std::min(size - 3, std::size_t{1024} - from);
  std::memcpy(pages->bytes + from, data + 3, bytes);
  const std::uint64_t mapped = data[2] % 4 == 0 ? kBytes : kBytes >> (data[2] % 32);
  const auto view = shm::attach_segment(pages->bytes, mapped, false);
  if (!view) {
    if (view.code() != Errc::corrupt && view.code() != Errc::layout_mismatch) std::abort();
    return 0;
  }
  const auto regions = layout::compute_regions(view->shape);
  std::uint64_t end = sizeof(layout::SegmentHeader);
  for (const auto& region : regions) {
    if (region.offset < end || region.offset + region.bytes < region.offset) std::abort();
    end = region.offset + region.bytes;
  }
  if (end > mapped || view->data_end * layout::kOffsetUnit > mapped) std::abort();
  return 0;
}
