#include "segment/segment.hpp"

#include <bit>
#include <cstring>

#include <cachee/triggers.hpp>

#include "layout/fingerprint.hpp"
#include "os/process.hpp"

namespace cachee::shm {

using layout::Region;

void View::bind(std::byte* at, const layout::Shape& checked, bool can_write) noexcept {
  base = at;
  header = reinterpret_cast<SegmentHeader*>(at);
  shape = checked;
  const auto regions = layout::compute_regions(shape);
  const auto region = [&](Region r) { return at + regions[r].offset; };
  clients = reinterpret_cast<Client*>(region(layout::kRegionClients));
  buckets = reinterpret_cast<Bucket*>(region(layout::kRegionBuckets));
  overflow = reinterpret_cast<OverflowBucket*>(region(layout::kRegionOverflow));
  overflow_owners = reinterpret_cast<Word*>(region(layout::kRegionOverflowOwners));
  heat = reinterpret_cast<Heat*>(region(layout::kRegionHeat));
  ghost = reinterpret_cast<layout::Ghost*>(region(layout::kRegionGhost));
  samples = reinterpret_cast<Word*>(region(layout::kRegionSamples));
  minima = reinterpret_cast<Word*>(region(layout::kRegionMinima));
  lanes = reinterpret_cast<layout::LanePage*>(region(layout::kRegionLanes));
  ring = reinterpret_cast<Cell*>(region(layout::kRegionRing));
  tables[0] = reinterpret_cast<Word*>(region(layout::kRegionTableA));
  tables[1] = reinterpret_cast<Word*>(region(layout::kRegionTableB));
  counters = reinterpret_cast<layout::TriggerCounters*>(region(layout::kRegionCounters));
  journal = reinterpret_cast<layout::Journal*>(region(layout::kRegionJournal));
  pages = reinterpret_cast<Word*>(region(layout::kRegionPages));
  free_bits = reinterpret_cast<Word*>(region(layout::kRegionFreeBits));
  hint_bits = reinterpret_cast<Word*>(region(layout::kRegionHintBits));
  available = reinterpret_cast<Word*>(region(layout::kRegionAvailable));
  data_begin = regions[layout::kRegionData].offset / layout::kOffsetUnit;
  data_end = data_begin + regions[layout::kRegionData].bytes / layout::kOffsetUnit;
  data_limit = at + data_end * layout::kOffsetUnit;
  record_span = data_end - data_begin - sizeof(Record) / layout::kOffsetUnit;
  page_unit_bits = static_cast<unsigned>(std::countr_zero(shape.page_bytes / layout::kOffsetUnit));
  bit_words = shape.page_bytes / layout::kBlockBytesMin / 64;
  available_words = (shape.page_count + 63) / 64;
  hash_seed = header->hash_seed;
  created_mono_ns = header->created_mono_ns;
  levels = layout::compute_minima(shape.bucket_count);
  writable = can_write;
}

void format_segment(std::byte* at, const layout::Shape& shape) noexcept {
  auto* header = reinterpret_cast<SegmentHeader*>(at);
  header->layout_major = kLayoutMajor;
  header->layout_minor = kLayoutMinor;
  header->fingerprint = layout::kFingerprint;
  header->byte_order = layout::kByteOrder;
  os::random_bytes(header->epoch, sizeof header->epoch);
  os::random_bytes(&header->hash_seed, sizeof header->hash_seed);
  header->created_wall_ns = static_cast<std::uint64_t>(base::wall_ns());
  // Whole ms: a deadline's ms and the summary's then end at the same instants.
  header->created_mono_ns = static_cast<std::uint64_t>(base::now_coarse_ns() / base::kNsPerMs * base::kNsPerMs);
  header->shape = shape;
  const auto regions = layout::compute_regions(shape);
  for (unsigned i = 0; i < layout::kRegionCount; ++i) header->regions[i] = regions[i];

  View view;
  view.bind(at, shape, true);
  // Zero is the right start for everything but these.
  for (std::uint64_t b = 0; b < shape.bucket_count; ++b) view.buckets[b].link.store_relaxed(layout::Link::kNever);
  const auto& levels = view.levels;
  for (unsigned n = 0; n < levels.count; ++n) {
    for (std::uint64_t i = 0; i < levels.entries[n]; ++i) {
      view.minima[levels.start[n] + i].store_relaxed(layout::Link::kNever);
    }
  }
  for (std::uint64_t p = 0; p < shape.ring_events; ++p) {
    view.ring[p].word.store_relaxed(layout::CellWord::empty(p));
    view.ring[p].wall_us.store_relaxed(layout::CellWord::empty(p));
  }
  Word* free_pages = view.available + shape.classes * view.available_words;
  for (std::uint64_t p = 0; p < shape.page_count; ++p) {
    free_pages[p / 64].store_relaxed(free_pages[p / 64].load_relaxed() | std::uint64_t{1} << (p % 64));
  }
  header->registrations.store_relaxed(1);
  header->trigger_word.store_relaxed(0);
  // Publishes all of the above; pairs with the acquire in attach_segment().
  header->magic.store_release(layout::kMagic);
}

namespace {

constexpr std::size_t kFixedBytes = offsetof(SegmentHeader, trigger_word);  // fixed once the magic is there
constexpr std::uint64_t kMonoNsMax = std::uint64_t{1} << 61;

}  // namespace

Result<View> attach_segment(std::byte* at, std::uint64_t bytes, bool writable) noexcept {
  const auto corrupt = [](std::uint64_t offset) { return Error{Errc::corrupt, 0, offset}; };
  if (bytes < sizeof(SegmentHeader)) return corrupt(0);
  // Pairs with the release in format_segment(): all of the header is there.
  if (reinterpret_cast<const Word*>(at)->load_acquire() != layout::kMagic) return corrupt(0);
  // Decided upon a private copy: what is checked is what is used, whoever writes the bytes meanwhile.
  SegmentHeader copy;
  mem::copy_out(reinterpret_cast<char*>(&copy), reinterpret_cast<const Word*>(at), kFixedBytes);
  const SegmentHeader* const header = &copy;
  const std::uint64_t found = std::uint64_t{header->layout_major} << 32 | header->layout_minor;
  if (header->byte_order != layout::kByteOrder || header->layout_major != kLayoutMajor ||
      header->layout_minor != kLayoutMinor || header->fingerprint != layout::kFingerprint) {
    return Error{Errc::layout_mismatch, 0, found};
  }
  const layout::Shape shape = header->shape;
  const auto in = [](std::uint64_t v, std::uint64_t low, std::uint64_t high) { return v >= low && v <= high; };
  constexpr auto kShapeAt = offsetof(SegmentHeader, shape);
  if (!in(shape.segment_bytes, sizeof(SegmentHeader), bytes)) return corrupt(kShapeAt);
  if (!in(shape.page_bytes, layout::kPageBytesMin, layout::kPageBytesMax) || !std::has_single_bit(shape.page_bytes)) {
    return corrupt(kShapeAt + offsetof(layout::Shape, page_bytes));
  }
  if (!in(shape.ring_events, 64, std::uint64_t{1} << 24) || !std::has_single_bit(shape.ring_events)) {
    return corrupt(kShapeAt + offsetof(layout::Shape, ring_events));
  }
  if (!in(shape.clients_max, 1, 1023)) return corrupt(kShapeAt + offsetof(layout::Shape, clients_max));
  if (!in(shape.bucket_count, 1, ~std::uint32_t{0}) || !in(shape.overflow_count, 1, layout::Link::Overflow::kMax - 1)) {
    return corrupt(kShapeAt + offsetof(layout::Shape, bucket_count));
  }
  if (shape.classes != layout::count_classes(shape.page_bytes / 2) || !in(shape.trigger_slots, 1, kTriggerSlotsMax) ||
      !in(shape.table_bytes, layout::kTableBytesMin, std::uint64_t{1} << 30) || !in(shape.page_count, 4, shape.segment_bytes / 4096)) {
    return corrupt(kShapeAt);
  }
  const auto regions = layout::compute_regions(shape);
  const auto& last = regions[layout::kRegionData];
  if (last.offset + last.bytes > shape.segment_bytes || last.bytes / shape.page_bytes != shape.page_count) {
    return corrupt(kShapeAt);
  }
  for (unsigned i = 0; i < layout::kRegionCount; ++i) {
    if (header->regions[i].offset != regions[i].offset || header->regions[i].bytes != regions[i].bytes) {
      return corrupt(offsetof(SegmentHeader, regions) + i * sizeof(layout::RegionEntry));
    }
  }
  if (shape.value_bytes_max > layout::value_bytes_limit(shape)) {
    return corrupt(kShapeAt + offsetof(layout::Shape, value_bytes_max));
  }
  // A clock of this machine, to which durations are added.
  if (header->created_mono_ns > kMonoNsMax) return corrupt(offsetof(SegmentHeader, created_mono_ns));
  View view;
  view.bind(at, shape, writable);
  view.created_mono_ns = header->created_mono_ns;
  return view;
}

}  // namespace cachee::shm
