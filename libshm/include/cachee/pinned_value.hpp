// PinnedValue: a value read in place, without a copy.
//
// Use:   auto view = cache.view("k");
//        if (view) send(view->bytes());
//
// The bytes stay valid and unchanged until the PinnedValue is destroyed, whatever happens to the
// key. A thread holds at most kPinsMax pins in place; further ones hold a private copy instead.
#pragma once

#include <memory>
#include <string>

#include <cachee/types.hpp>

namespace cachee {

inline constexpr unsigned kPinsMax = 8;

namespace shm {
class Handle;
}

class PinnedValue {
 public:
  PinnedValue(PinnedValue&&) noexcept;
  PinnedValue& operator=(PinnedValue&&) noexcept;
  PinnedValue(const PinnedValue&) = delete;
  PinnedValue& operator=(const PinnedValue&) = delete;
  ~PinnedValue();

  [[nodiscard]] ValueView bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
  /// True when the bytes are in the segment, false when they are a private copy.
  [[nodiscard]] bool in_place() const noexcept { return pin_ != nullptr; }
  void release() noexcept;

 private:
  friend class Cache;
  PinnedValue() noexcept = default;
  ValueView bytes_{};
  std::uint64_t version_ = 0;
  std::shared_ptr<shm::Handle> handle_{};
  void* pin_ = nullptr;
  std::unique_ptr<char[]> copy_{};
};

}  // namespace cachee
