// Store: what every contestant can do. A process opens its own Session; a shared store's sessions
// see one another's writes, a private one's do not.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace cachee::bench {

class Session {
 public:
  virtual ~Session() = default;
  /// Copies the value out; the returned size is 0 for a missing key.
  virtual std::size_t get(std::string_view key, char* out, std::size_t out_bytes) = 0;
  virtual void set(std::string_view key, std::string_view value) = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// True when processes share what is in it.
  [[nodiscard]] virtual bool shared() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Session> open() = 0;
  /// Operations in one measured round; slow stores get fewer.
  [[nodiscard]] virtual std::size_t round_operations() const { return std::size_t{1} << 20; }
};

// Each makes a store ready to be filled, or null with the reason in `why_not`.
[[nodiscard]] std::unique_ptr<Store> make_inline_map(std::size_t key_count);
[[nodiscard]] std::unique_ptr<Store> make_boost_map(std::size_t key_count);
[[nodiscard]] std::unique_ptr<Store> make_cachee(std::size_t key_count, bool huge_pages);
[[nodiscard]] std::unique_ptr<Store> make_lmdb(std::size_t key_count);
[[nodiscard]] std::unique_ptr<Store> make_redis(std::string& why_not);
[[nodiscard]] std::unique_ptr<Store> make_memcached(std::string& why_not);

}  // namespace cachee::bench
