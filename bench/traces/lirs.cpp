#include <algorithm>

#include "traces/queue.hpp"
#include "traces/reference.hpp"

namespace cachee::bench {
namespace {

/// LIRS (Jiang and Zhang, SIGMETRICS 2002). The stack orders keys by their last use, the oldest of
/// them a LIR key always; a HIR key that is used again while the stack still knows it becomes LIR.
/// 1 % is for resident HIR keys; as many keys that are gone are known as twice the capacity holds.
class Lirs final : public Reference {
 public:
  Lirs(std::uint64_t capacity, std::uint32_t keys)
      : capacity_{capacity}, lir_max_{capacity - std::max<std::uint64_t>(1, capacity / 100)}, gone_max_{2 * capacity},
        stack_{keys}, resident_{keys}, gone_{keys}, is_(keys), on_stack_(keys), sizes_(keys) {}

  bool access(std::uint32_t key, std::uint64_t size) override {
    sizes_[key] = size;
    if (is_[key] == kLir) {
      to_top(key);
      prune();
      return true;
    }
    if (is_[key] == kHir) {
      const bool known = on_stack_[key] != 0;
      resident_.remove(key);
      to_top(key);
      if (known) {
        become_lir(key);
      } else {
        resident_.push(key, size);
      }
      return true;
    }
    const bool known = is_[key] == kGone;
    if (known) forget(key);
    if (size > capacity_) return false;
    while (lir_size_ + resident_.size() + size > capacity_) evict();
    to_top(key);
    if (known || lir_size_ + size <= lir_max_) {
      become_lir(key);
    } else {
      is_[key] = kHir;
      resident_.push(key, size);
    }
    return false;
  }

 private:
  enum : std::uint8_t { kOut, kLir, kHir, kGone };

  void to_top(std::uint32_t key) {
    if (on_stack_[key]) stack_.remove(key);
    stack_.push(key, sizes_[key]);
    on_stack_[key] = 1;
  }
  void off_stack(std::uint32_t key) {
    stack_.remove(key);
    on_stack_[key] = 0;
  }
  void forget(std::uint32_t key) {
    gone_.remove(key);
    off_stack(key);
    is_[key] = kOut;
  }
  void become_lir(std::uint32_t key) {
    is_[key] = kLir;
    lir_size_ += sizes_[key];
    while (lir_size_ > lir_max_ && demote() != key) {
    }
    prune();
  }
  /// The LIR key that was not used longest becomes a resident HIR key that the stack does not know.
  std::uint32_t demote() {
    prune();
    const std::uint32_t oldest = stack_.tail();
    off_stack(oldest);
    is_[oldest] = kHir;
    lir_size_ -= sizes_[oldest];
    resident_.push(oldest, sizes_[oldest]);
    return oldest;
  }
  void prune() {
    while (!stack_.empty() && is_[stack_.tail()] != kLir) {
      const std::uint32_t oldest = stack_.tail();
      if (is_[oldest] == kGone) {
        forget(oldest);
      } else {
        off_stack(oldest);
      }
    }
  }
  void evict() {
    if (resident_.empty()) demote();
    const std::uint32_t victim = resident_.tail();
    resident_.remove(victim);
    is_[victim] = kOut;
    if (!on_stack_[victim]) return;
    is_[victim] = kGone;
    gone_.push(victim, sizes_[victim]);
    while (gone_.size() > gone_max_) forget(gone_.tail());
  }

  std::uint64_t capacity_, lir_max_, gone_max_;
  std::uint64_t lir_size_ = 0;
  Queue stack_, resident_, gone_;
  std::vector<std::uint8_t> is_, on_stack_;
  std::vector<std::uint64_t> sizes_;
};

}  // namespace

std::unique_ptr<Reference> make_lirs(std::uint64_t capacity, std::uint32_t keys) { return std::make_unique<Lirs>(capacity, keys); }

}  // namespace cachee::bench
