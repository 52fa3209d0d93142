#include "record/record.hpp"

#include <cstring>
#include <type_traits>

namespace cachee::shm {

using layout::ExtensionHeader;

namespace {

void put_u32(std::string& out, std::size_t v) {
  const auto word = static_cast<std::uint32_t>(v);
  out.append(reinterpret_cast<const char*>(&word), sizeof word);
}

/// Copies a plain value out of bytes that may be in the segment: loaded exactly once, so that what is
/// checked is what is used, whoever changes the bytes meanwhile.
template <class T>
void load_once(T& to, const char* from) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(&to, from, sizeof to);
  // For the compiler `to` may have changed here: it cannot load from the segment again instead.
  asm volatile("" : "+m"(to));
}

bool read_header(std::string_view bytes, ExtensionHeader& header) noexcept {
  if (bytes.size() < sizeof header) return false;
  load_once(header, bytes.data());
  return header.bytes >= sizeof header && header.bytes <= bytes.size();
}

/// Walks the length-prefixed strings behind the header.
class Walker {
 public:
  Walker(std::string_view bytes, const ExtensionHeader& header) noexcept
      : rest_{bytes.substr(sizeof header, header.bytes - sizeof header)} {}
  bool take_u32(std::uint32_t& v) noexcept {
    if (rest_.size() < sizeof v) return false;
    load_once(v, rest_.data());
    rest_.remove_prefix(sizeof v);
    return true;
  }
  bool take(std::uint32_t bytes, std::string_view& out) noexcept {
    if (rest_.size() < bytes) return false;
    out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return true;
  }
  bool take_field(std::string_view& name, std::string_view& value) noexcept {
    std::uint32_t name_bytes = 0;
    std::uint32_t value_bytes = 0;
    return take_u32(name_bytes) && take_u32(value_bytes) && take(name_bytes, name) && take(value_bytes, value);
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string encode_extension(std::optional<double> cost, const Provenance& provenance, const Metadata& metadata,
                             const std::vector<std::string>& parents) {
  if (!needs_extension(cost, provenance, metadata, parents)) return {};
  ExtensionHeader header{};
  header.fields = static_cast<std::uint16_t>(metadata.size());
  header.parents = static_cast<std::uint16_t>(parents.size());
  header.cost = cost.value_or(kCostDefault);
  header.parent = provenance.parent;
  header.chain = provenance.chain;
  header.depth = provenance.depth;
  std::string out(sizeof header, '\0');
  for (const auto& [name, value] : metadata) {
    put_u32(out, name.size());
    put_u32(out, value.size());
    out.append(name).append(value);
  }
  for (const auto& parent : parents) {
    put_u32(out, parent.size());
    out.append(parent);
  }
  header.bytes = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

std::optional<Extension> decode_extension(std::string_view bytes) {
  Extension extension;
  if (bytes.empty()) return extension;
  ExtensionHeader header;
  if (!read_header(bytes, header)) return std::nullopt;
  extension.cost = header.cost;
  extension.provenance = {header.parent, header.chain, header.depth};
  Walker walker{bytes, header};
  for (unsigned i = 0; i < header.fields; ++i) {
    std::string_view name;
    std::string_view value;
    if (!walker.take_field(name, value)) return std::nullopt;
    extension.metadata.emplace_back(name, value);
  }
  for (unsigned i = 0; i < header.parents; ++i) {
    std::uint32_t parent_bytes = 0;
    std::string_view parent;
    if (!walker.take_u32(parent_bytes) || !walker.take(parent_bytes, parent)) return std::nullopt;
    extension.parents.emplace_back(parent);
  }
  return extension;
}

Provenance extension_provenance(std::string_view bytes) noexcept {
  ExtensionHeader header;
  if (!read_header(bytes, header)) return {};
  return {header.parent, header.chain, header.depth};
}

double extension_cost(std::string_view bytes) noexcept {
  ExtensionHeader header;
  return read_header(bytes, header) ? header.cost : kCostDefault;
}

bool extension_fields(std::string_view bytes, MetadataViews& out) {
  out.clear();
  if (bytes.empty()) return true;
  ExtensionHeader header;
  if (!read_header(bytes, header)) return false;
  Walker walker{bytes, header};
  for (unsigned i = 0; i < header.fields; ++i) {
    std::string_view name;
    std::string_view value;
    if (!walker.take_field(name, value)) return false;
    out.emplace_back(name, value);
  }
  return true;
}

std::optional<std::string_view> extension_field(std::string_view bytes, std::string_view field) noexcept {
  ExtensionHeader header;
  if (!read_header(bytes, header)) return std::nullopt;
  Walker walker{bytes, header};
  for (unsigned i = 0; i < header.fields; ++i) {
    std::string_view name;
    std::string_view value;
    if (!walker.take_field(name, value)) return std::nullopt;
    if (name == field) return value;
  }
  return std::nullopt;
}

KeyCopy::KeyCopy(const View& view, std::uint64_t unit) {
  const Record& r = *view.record(unit);
  const RecordBounds b = bounds_of(view, unit, r.lens.load_relaxed());
  if (!b.fits) return;
  if (b.key_bytes > sizeof short_) long_.resize(b.key_bytes);
  bytes_ = b.key_bytes;
  mem::copy_out(bytes_ <= sizeof short_ ? short_ : long_.data(), r.payload(), bytes_);
}

std::string extension_copy(const View& view, std::uint64_t unit) {
  const std::string_view place = extension_in_place(view, unit);
  std::string bytes(place.size(), '\0');
  if (!place.empty()) mem::copy_out(bytes.data(), reinterpret_cast<const Word*>(place.data()), place.size());
  return bytes;
}

KeyView key_in_place(const View& view, std::uint64_t unit) noexcept {
  const Record& r = *view.record(unit);
  const RecordBounds b = bounds_of(view, unit, r.lens.load_relaxed());
  return b.fits ? KeyView{reinterpret_cast<const char*>(r.payload()), b.key_bytes} : KeyView{};
}

ValueView value_in_place(const View& view, std::uint64_t unit) noexcept {
  const Record& r = *view.record(unit);
  const RecordBounds b = bounds_of(view, unit, r.lens.load_relaxed());
  return b.fits ? ValueView{reinterpret_cast<const char*>(r.payload()) + b.value_at, b.value_bytes} : ValueView{};
}

std::string_view extension_in_place(const View& view, std::uint64_t unit) noexcept {
  const Record& r = *view.record(unit);
  const RecordBounds b = bounds_of(view, unit, r.lens.load_relaxed());
  const std::uint64_t left = view.bytes_after(unit);
  if (!b.fits || (b.flags & layout::kHasExtension) == 0) return {};
  const std::uint64_t at = sizeof(Record) + b.extension_at;
  if (left - at < sizeof(ExtensionHeader)) return {};
  const Word* const words = r.payload() + b.extension_at / sizeof(Word);
  const auto total = static_cast<std::uint32_t>(words->load_relaxed());  // ExtensionHeader::bytes
  if (total < sizeof(ExtensionHeader) || total > left - at) return {};
  return {reinterpret_cast<const char*>(words), total};
}

}  // namespace cachee::shm
