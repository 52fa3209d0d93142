#include "script/overlay.hpp"

namespace cachee::daemon::script {

namespace {
constexpr std::size_t kEntriesKept = 16;
constexpr std::size_t kKeyBytesKept = 4096;
}  // namespace

std::uint64_t fnv1a(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

const Overlay::Entry* Overlay::find(KeyView key) const noexcept {
  if (used_ == 0) return nullptr;
  const std::uint64_t hash = fnv1a(key);
  for (std::size_t i = used_; i-- > 0;) {
    if (entries_[i].hash == hash && entries_[i].key == key) return &entries_[i];
  }
  return nullptr;
}

Overlay::Entry& Overlay::write(KeyView key) {
  const std::uint64_t hash = fnv1a(key);
  for (std::size_t i = used_; i-- > 0;) {
    if (entries_[i].hash == hash && entries_[i].key == key) return entries_[i];
  }
  if (used_ == entries_.size()) entries_.emplace_back();
  Entry& entry = entries_[used_];
  entry.hash = hash;
  entry.key.assign(key);
  entry.exists = false;
  entry.value_known = false;
  entry.value.clear();
  entry.value_bytes = 0;
  entry.ttl_ms.reset();
  ++used_;
  return entry;
}

void Overlay::clear() noexcept {
  if (used_ == 0) return;
  for (std::size_t i = 0; i < used_; ++i) {
    if (entries_[i].key.capacity() > kKeyBytesKept) entries_[i].key = {};
  }
  if (entries_.size() > kEntriesKept) {
    entries_.resize(kEntriesKept);
    entries_.shrink_to_fit();
  }
  used_ = 0;
}

}  // namespace cachee::daemon::script
