// Outcome<T>: a value, or a Failure that says in words what went wrong and what to do.
//
// Use:   Outcome<Row> row = store.find(id);
//        if (!row) return row.failure();           // Failure: code and one sentence
//        use(*row);
//
// The daemon's counterpart of cachee::Result: off the fast paths, where a message that names the
// file, the row or the setting is worth an allocation.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <cachee/result.hpp>

namespace cachee::daemon {

struct Failure {
  Errc code = Errc::io;
  std::string text{};  // one sentence that names the thing and what to do
};

template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_{std::in_place_index<0>, std::move(value)} {}            // NOLINT
  Outcome(Failure failure) : state_{std::in_place_index<1>, std::move(failure)} {}  // NOLINT

  [[nodiscard]] explicit operator bool() const noexcept { return state_.index() == 0; }
  /// Aborts when there is no value: check first.
  [[nodiscard]] T& operator*() & noexcept { return require(), *std::get_if<0>(&state_); }
  [[nodiscard]] const T& operator*() const& noexcept { return require(), *std::get_if<0>(&state_); }
  /// By value, so that `for (auto& row : *store.list())` does not walk a dead temporary.
  [[nodiscard]] T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) {
    return require(), std::move(*std::get_if<0>(&state_));
  }
  [[nodiscard]] T* operator->() noexcept { return &**this; }
  [[nodiscard]] const T* operator->() const noexcept { return &**this; }
  /// Aborts when there is a value.
  [[nodiscard]] const Failure& failure() const noexcept {
    if (state_.index() != 1) std::abort();
    return *std::get_if<1>(&state_);
  }

 private:
  void require() const noexcept {
    if (state_.index() != 0) std::abort();
  }
  std::variant<T, Failure> state_;
};

/// Success or a Failure.
template <>
class [[nodiscard]] Outcome<void> {
 public:
  Outcome() = default;
  Outcome(Failure failure) : failure_{std::move(failure)} {}  // NOLINT(*-explicit-*)
  [[nodiscard]] explicit operator bool() const noexcept { return !failure_.has_value(); }
  /// Aborts on success.
  [[nodiscard]] const Failure& failure() const noexcept {
    if (!failure_) std::abort();
    return *failure_;
  }

 private:
  std::optional<Failure> failure_{};
};

}  // namespace cachee::daemon
