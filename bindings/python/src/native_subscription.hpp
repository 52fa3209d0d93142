// NativeSubscription: a Subscription that several threads share and that another of them may close.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>
#include <cachee/cachee.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "errors.hpp"

namespace cachee::python {

/// Who may use a connection: first come, first served, so that a thread which waits for events in
/// one slice after the other does not keep the acknowledgement of another thread from getting
/// through. No condition variable: destroying one in a forked child waits for waiters that are not
/// there.
class Turns {
 public:
  class Turn {
   public:
    explicit Turn(Turns& turns) noexcept : turns_{turns} { turns_.enter(); }
    ~Turn() { turns_.leave(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Turns& turns_;
  };
  /// Somebody waits for the turn that the caller has.
  [[nodiscard]] bool is_contended() const noexcept { return next_ - serving_ > 1; }

 private:
  void enter() noexcept;
  void leave() noexcept;

  std::atomic<std::uint32_t> next_{0};
  std::atomic<std::uint32_t> serving_{0};
};

/// Ownership of events is the connection's, so what waits and what acknowledges take turns on it. A
/// wait is therefore made in slices: between two of them others get their turn, signals are seen,
/// and close() takes effect.
class NativeSubscription {
 public:
  NativeSubscription(Subscription subscription, std::string segment, std::string group);

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Threads that are in a call without the GIL, or on their way out of it.
  [[nodiscard]] int calls() const noexcept { return getpid() == pid_ ? calls_ : 0; }
  /// Refuses further calls; waits for nobody.
  void stop() noexcept { closed_ = true; }
  /// stop(), and gives back what was not acknowledged. A call of another thread ends its slice
  /// first.
  void close();

  /// One slice of a wait for events, at most `patience`, or a poll when that is 0. Each event goes
  /// to `queue.append` before this returns, as (time.monotonic() at the question, dict): a
  /// KeyboardInterrupt behind it finds them there.
  void read(const pybind11::object& queue, std::chrono::milliseconds patience,
            std::size_t count_max);
  void ack(const std::vector<std::string>& ids);
  void nack(const std::string& id, std::optional<std::chrono::milliseconds> delay,
            std::string error);
  [[nodiscard]] std::uint64_t lag();

 private:
  template <class Operation>
  auto call(Operation&& operation);
  [[noreturn]] void fail(Error error, std::string said) const;

  std::optional<Subscription> subscription_;  // guarded by turns_
  std::chrono::milliseconds slice_;           // guarded by turns_
  Turns turns_{};
  std::string segment_;
  std::string group_;
  pid_t pid_;
  bool closed_ = false;  // guarded by the GIL, as is calls_
  int calls_ = 0;
};

void bind_subscription(pybind11::module_& module);

}  // namespace cachee::python
