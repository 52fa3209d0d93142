// Parties that take turns by the access: each runs on a stack of its own until its turn is over, at
// a hook before an access to shared memory. One thread, so a schedule repeats exactly.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

#include "mem/schedule_hook.hpp"

namespace cachee::test {

class Fibers {
 public:
  explicit Fibers(std::vector<std::function<void()>> bodies) {
    for (auto& body : bodies) {
      auto fiber = std::make_unique<Fiber>();
      fiber->body = std::move(body);
      fiber->stack.resize(kStackBytes);
      getcontext(&fiber->context);
      fiber->context.uc_stack.ss_sp = fiber->stack.data();
      fiber->context.uc_stack.ss_size = fiber->stack.size();
      fiber->context.uc_link = &main_;
      makecontext(&fiber->context, &Fibers::enter, 0);
      fibers_.push_back(std::move(fiber));
    }
    current_ = this;
    mem::schedule_point_hook = at_access;
  }
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;
  ~Fibers() {
    mem::schedule_point_hook = nullptr;
    current_ = nullptr;
  }

  /// A party goes on until it is about to make its access number `accesses` of this turn, or has
  /// ended. False: it has ended.
  bool turn(std::size_t party, long accesses) {
    Fiber& fiber = *fibers_[party];
    if (fiber.ended) return false;
    fiber.left = accesses;
    running_ = &fiber;
    swapcontext(&main_, &fiber.context);
    running_ = nullptr;
    return !fiber.ended;
  }
  void finish(std::size_t party) { turn(party, 0); }
  bool ended(std::size_t party) const { return fibers_[party]->ended; }
  bool all_ended() const {
    for (const auto& fiber : fibers_) {
      if (!fiber->ended) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kStackBytes = 256 * 1024;
  struct Fiber {
    ucontext_t context{};
    std::vector<char> stack;
    std::function<void()> body;
    long left = 0;
    bool ended = false;
  };
  static void enter() {
    Fiber* const self = current_->running_;
    self->body();
    self->ended = true;
  }
  static void at_access() noexcept {
    if (current_ == nullptr || current_->running_ == nullptr) return;
    Fiber& fiber = *current_->running_;
    if (fiber.left == 0 || --fiber.left > 0) return;
    swapcontext(&fiber.context, &current_->main_);
  }
  static inline Fibers* current_ = nullptr;
  ucontext_t main_{};
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* running_ = nullptr;
};

}  // namespace cachee::test
