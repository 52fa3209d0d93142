// Cachee itself, through its public API, with its upkeep running.
#include "versus/store.hpp"
#include "workload/keeper.hpp"

namespace cachee::bench {
namespace {

class CacheeStore final : public Store {
 public:
  CacheeStore(std::size_t key_count, bool huge_pages)
      // About 85 % full, as a cache is; a small one has its fixed parts to carry.
      : keeper_{{.memory_bytes = (std::size_t{8} << 20) + key_count * 200,
                 .eviction = EvictionPolicy::none,
                 .huge_pages = huge_pages,
                 .prefault = true}} {}
  std::string name() const override { return "cachee"; }
  bool shared() const override { return true; }
  std::unique_ptr<Session> open() override { return std::make_unique<Use>(keeper_.open()); }

 private:
  class Use final : public Session {
   public:
    explicit Use(Cache cache) : cache_{std::move(cache)} {}
    std::size_t get(std::string_view key, char* out, std::size_t out_bytes) override {
      const auto bytes = cache_.get_into(key, {out, out_bytes});
      return bytes ? *bytes : 0;
    }
    void set(std::string_view key, std::string_view value) override {
      const auto written = cache_.set(key, value);
      if (!written) die("set: " + to_string(written.error()));
    }

   private:
    Cache cache_;
  };
  Keeper keeper_;
};

}  // namespace

std::unique_ptr<Store> make_cachee(std::size_t key_count, bool huge_pages) {
  return std::make_unique<CacheeStore>(key_count, huge_pages);
}

}  // namespace cachee::bench
