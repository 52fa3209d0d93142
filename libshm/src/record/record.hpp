// Bytes of one version of one key: how they are built in private, and read with care.
//
// RECORD PROTOCOL
//   [RC-1] A record's key, value and extension are written while it is PRIV and unlinked, and never
//          change until its block is FREE again. `link` and `tag` too.
//   [RC-2] hdr: FREE -> PRIV(uid) -> {CLEAN | EV_PEND -> EV_DONE} -> RETIRED -> FREE, or PRIV ->
//          ABORTED -> FREE. The uid changes at FREE -> PRIV only and never comes back.
//   [RC-3] exp changes by CAS while linked, never once FROZEN.
//   [RC-4] EV_DONE => ev is CONFIRMED.
// Lengths read from the segment are clamped before use: another process wrote them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <cachee/options.hpp>
#include <cachee/types.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

/// What a record is built from; borrows everything.
struct RecordParts {
  KeyView key{};
  ValueView value{};
  std::string_view extension{};  // encode_extension(), or the bytes of another record's
  std::uint64_t flags = 0;
};

struct Extension {
  double cost = kCostDefault;
  Provenance provenance{};
  Metadata metadata{};
  std::vector<std::string> parents{};
};

/// Empty when everything has its default.
[[nodiscard]] std::string encode_extension(std::optional<double> cost, const Provenance& provenance,
                                           const Metadata& metadata, const std::vector<std::string>& parents);
/// nullopt for bytes that encode_extension() did not make.
[[nodiscard]] std::optional<Extension> decode_extension(std::string_view bytes);
[[nodiscard]] double extension_cost(std::string_view bytes) noexcept;
[[nodiscard]] std::optional<std::string_view> extension_field(std::string_view bytes, std::string_view field) noexcept;

[[nodiscard]] std::uint64_t record_bytes(const RecordParts& parts) noexcept;
/// A4: everything but hdr.
void fill_record(Record& record, const RecordParts& parts, std::uint64_t exp, std::uint64_t birth_ms) noexcept;

void set_lineage(Record& record, std::uint64_t prev_unit, std::uint64_t version, std::uint64_t birth_ms) noexcept;
inline std::uint64_t prev_of(const Record& r) noexcept { return layout::LinkWord::Prev::get(r.link.load_relaxed()); }
inline std::uint64_t version_of(const Record& r) noexcept { return layout::TagWord::Version::get(r.tag.load_relaxed()); }
std::uint64_t birth_ms_of(const Record& r) noexcept;

/// Where the parts of a record are, clamped to the data region.
struct RecordBounds {
  std::uint64_t key_bytes = 0;
  std::uint64_t value_bytes = 0;
  std::uint64_t flags = 0;
  std::uint64_t value_at = 0;      // bytes from the payload
  std::uint64_t extension_at = 0;  // bytes from the payload
  bool fits = false;               // false: the lengths cannot be true
};
inline RecordBounds bounds_of(const View& view, std::uint64_t unit, std::uint64_t lens) noexcept {
  RecordBounds b;
  b.key_bytes = layout::Lens::Key::get(lens);
  b.value_bytes = layout::Lens::Value::get(lens);
  b.flags = layout::Lens::Flags::get(lens);
  b.value_at = base::align_up(b.key_bytes, 8);
  b.extension_at = b.value_at + base::align_up(b.value_bytes, 8);
  b.fits = sizeof(Record) + b.extension_at <= view.bytes_after(unit) && b.value_bytes <= view.shape.value_bytes_max;
  return b;
}
/// In place, for records that are protected or pinned by an event. Empty views when damaged.
KeyView key_in_place(const View& view, std::uint64_t unit) noexcept;
ValueView value_in_place(const View& view, std::uint64_t unit) noexcept;
std::string_view extension_in_place(const View& view, std::uint64_t unit) noexcept;

}  // namespace cachee::shm
