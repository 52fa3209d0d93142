// Overlay: what a run's own buffered writes did to the keys, so that the run reads them back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/types.hpp>

namespace cachee::daemon::script {

class Overlay {
 public:
  struct Entry {
    std::uint64_t hash = 0;
    std::string key{};
    bool exists = false;
    bool value_known = false;  // false: the cache's value, with another deadline
    std::string value{};            // short, made by a call (incr, once); unless
    std::size_t value_offset = 0;   // ... a set gave it: it stands here in the run's encoded effects
    std::size_t value_bytes = 0;
    std::optional<std::int64_t> ttl_ms{};  // none: no deadline
  };

  /// The state of a key that this run wrote; nullptr for any other key.
  [[nodiscard]] const Entry* find(KeyView key) const noexcept;
  /// The state of a key, made when there is none. Valid until the next call of write().
  [[nodiscard]] Entry& write(KeyView key);
  void clear() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return used_; }
  /// What an entry of that key takes, with what the list of them keeps in reserve.
  [[nodiscard]] static constexpr std::size_t entry_bytes(std::size_t key_bytes) noexcept { return 2 * sizeof(Entry) + key_bytes; }

 private:
  // Entries are kept between runs for their keys' memory; `used_` of them count.
  std::vector<Entry> entries_{};
  std::size_t used_ = 0;
};

/// FNV-1a, 64 bits: also what `cachee.hash` gives.
[[nodiscard]] std::uint64_t fnv1a(std::string_view bytes) noexcept;

}  // namespace cachee::daemon::script
