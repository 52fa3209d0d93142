// The yardsticks: what a map costs that is not shared, has no TTL, no events and no locks.
#include <algorithm>
#include <cstring>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "versus/store.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

/// Keys and values of one size inside a dense array, found through an array of 8-byte buckets by
/// robin-hood probing: the shape of ankerl::unordered_dense, which Debian 12 does not have.
class InlineMap {
 public:
  explicit InlineMap(std::size_t key_count) {
    std::size_t count = 16;
    while (count * 4 < key_count * 5) count *= 2;  // at most 80 % full
    buckets_.resize(count);
    mask_ = count - 1;
    entries_.reserve(key_count);
  }

  [[nodiscard]] const ValueBytes* find(std::string_view key) const noexcept {
    const std::uint64_t hash = hash_of(key);
    std::uint32_t distance = fingerprint(hash);
    for (std::size_t at = hash >> 20 & mask_;; at = (at + 1) & mask_, distance += kDistanceOne) {
      const Bucket& bucket = buckets_[at];
      if (bucket.distance == distance &&
          std::memcmp(entries_[bucket.entry].key.data(), key.data(), kKeyBytes) == 0) {
        return &entries_[bucket.entry].value;
      }
      if (bucket.distance < distance) return nullptr;
    }
  }

  void assign(std::string_view key, std::string_view value) {
    const std::uint64_t hash = hash_of(key);
    std::uint32_t distance = fingerprint(hash);
    std::size_t at = hash >> 20 & mask_;
    for (;; at = (at + 1) & mask_, distance += kDistanceOne) {
      const Bucket& bucket = buckets_[at];
      if (bucket.distance == distance &&
          std::memcmp(entries_[bucket.entry].key.data(), key.data(), kKeyBytes) == 0) {
        std::memcpy(entries_[bucket.entry].value.data(), value.data(), kValueBytes);
        return;
      }
      if (bucket.distance < distance) break;
    }
    Entry entry;
    std::memcpy(entry.key.data(), key.data(), kKeyBytes);
    std::memcpy(entry.value.data(), value.data(), kValueBytes);
    Bucket carried{distance, static_cast<std::uint32_t>(entries_.size())};
    entries_.push_back(entry);
    for (; carried.distance != 0; at = (at + 1) & mask_, carried.distance += kDistanceOne) {
      if (buckets_[at].distance < carried.distance) std::swap(buckets_[at], carried);
      if (carried.distance == 0) return;
    }
  }

 private:
  struct Bucket {
    std::uint32_t distance = 0;  // distance + 1 in the upper 24 bits, fingerprint in the lower 8
    std::uint32_t entry = 0;
  };
  struct Entry {
    Key key;
    ValueBytes value;
  };
  static constexpr std::uint32_t kDistanceOne = 256;

  static std::uint64_t hash_of(std::string_view key) noexcept {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, key.data(), 8);
    std::memcpy(&b, key.data() + 8, 8);
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a ^ 0xa0761d6478bd642full) * (b ^ 0xe7037ed1a0b428dbull);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  static std::uint32_t fingerprint(std::uint64_t hash) noexcept {
    return kDistanceOne | static_cast<std::uint32_t>(hash & 0xff);
  }

  std::vector<Bucket> buckets_{};
  std::vector<Entry> entries_{};
  std::size_t mask_ = 0;
};

class InlineStore final : public Store {
 public:
  explicit InlineStore(std::size_t key_count) : map_{key_count} {}
  std::string name() const override { return "private inline map"; }
  bool shared() const override { return false; }
  std::unique_ptr<Session> open() override { return std::make_unique<Use>(map_); }

 private:
  class Use final : public Session {
   public:
    explicit Use(InlineMap& map) : map_{map} {}
    std::size_t get(std::string_view key, char* out, std::size_t) override {
      const ValueBytes* value = map_.find(key);
      if (value == nullptr) return 0;
      std::memcpy(out, value->data(), value->size());
      return value->size();
    }
    void set(std::string_view key, std::string_view value) override { map_.assign(key, value); }

   private:
    InlineMap& map_;
  };
  InlineMap map_;
};

/// What a service that keeps its own cache writes without much thought.
class BoostStore final : public Store {
 public:
  explicit BoostStore(std::size_t key_count) { map_.reserve(key_count); }
  std::string name() const override { return "private boost::unordered_flat_map"; }
  bool shared() const override { return false; }
  std::unique_ptr<Session> open() override { return std::make_unique<Use>(map_); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return boost::hash<std::string_view>{}(text);
    }
  };
  using Map = boost::unordered_flat_map<std::string, std::string, Hash, std::equal_to<>>;
  class Use final : public Session {
   public:
    explicit Use(Map& map) : map_{map} {}
    std::size_t get(std::string_view key, char* out, std::size_t out_bytes) override {
      const auto found = map_.find(key);
      if (found == map_.end()) return 0;
      const std::size_t bytes = std::min(out_bytes, found->second.size());
      std::memcpy(out, found->second.data(), bytes);
      return found->second.size();
    }
    void set(std::string_view key, std::string_view value) override {
      const auto found = map_.find(key);
      if (found != map_.end()) {
        found->second.assign(value);
      } else {
        map_.emplace(std::string{key}, std::string{value});
      }
    }

   private:
    Map& map_;
  };
  Map map_{};
};

}  // namespace

std::unique_ptr<Store> make_inline_map(std::size_t key_count) {
  return std::make_unique<InlineStore>(key_count);
}
std::unique_ptr<Store> make_boost_map(std::size_t key_count) {
  return std::make_unique<BoostStore>(key_count);
}

}  // namespace cachee::bench
