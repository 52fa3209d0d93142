// What the reference simulators are made of.
#pragma once

#include <cstdint>
#include <vector>

namespace cachee::bench {

/// A queue of keys that can also lose one from its middle; keys know their neighbours.
class Queue {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  explicit Queue(std::uint32_t keys) : links_(keys) {}

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return tail_ == kNone; }
  [[nodiscard]] std::uint32_t tail() const noexcept { return tail_; }
  /// The next one towards the head, where the young are.
  [[nodiscard]] std::uint32_t younger(std::uint32_t key) const noexcept { return links_[key].younger; }

  void push(std::uint32_t key, std::uint64_t size) noexcept {
    links_[key] = {kNone, head_, size};
    (head_ == kNone ? tail_ : links_[head_].younger) = key;
    head_ = key;
    size_ += size;
  }
  std::uint64_t remove(std::uint32_t key) noexcept {
    const Link link = links_[key];
    (link.younger == kNone ? head_ : links_[link.younger].older) = link.older;
    (link.older == kNone ? tail_ : links_[link.older].younger) = link.younger;
    size_ -= link.size;
    return link.size;
  }

 private:
  struct Link {
    std::uint32_t younger = kNone;
    std::uint32_t older = kNone;
    std::uint64_t size = 0;
  };
  std::vector<Link> links_;
  std::uint32_t head_ = kNone;
  std::uint32_t tail_ = kNone;
  std::uint64_t size_ = 0;
};

}  // namespace cachee::bench
