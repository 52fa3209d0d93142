// NativeCache: a Cache that survives close() by another thread and fork().
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cachee/cachee.hpp>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "convert.hpp"
#include "errors.hpp"

namespace cachee::python {

/// Every operation works on its own reference to the Cache, so that close() in another thread, or
/// the reopening in a forked child, never takes it away in the middle. `cache_` is guarded by the
/// GIL.
class NativeCache {
 public:
  explicit NativeCache(OpenOptions options);

  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
  [[nodiscard]] bool closed() const noexcept { return cache_ == nullptr; }
  void close() noexcept { cache_.reset(); }
  /// The Cache, opened again if this is a forked child; for calls that cannot say Errc::closed.
  [[nodiscard]] std::shared_ptr<Cache> current_here();

  /// Runs `operation(Cache&)`, a Result, and throws what went wrong with the key's name. The
  /// inherited handle of a forked child says Errc::closed: the child gets its own then.
  template <class Operation>
  auto run(const Key* key, Operation&& operation) {
    auto result = attempt(operation);
    if (!result) throw Failure{result.error(), name(), key_of(key)};
    if constexpr (!std::is_void_v<typename decltype(result)::value_type>) {
      return std::move(*result);
    }
  }

  /// run() for what may find nothing: that is an empty Result, and not a Failure.
  template <class Operation>
  auto find(const Key* key, Operation&& operation) {
    auto result = attempt(operation);
    if (!result && result.code() != Errc::not_found) {
      throw Failure{result.error(), name(), key_of(key)};
    }
    return result;
  }

  /// run() for what may wait for room in the event ring: without the GIL.
  template <class Operation>
  auto run_unlocked(const Key* key, Operation&& operation) {
    return run(key, [&](Cache& cache) {
      const pybind11::gil_scoped_release release_gil;
      return operation(cache);
    });
  }
  template <class Operation>
  auto find_unlocked(const Key* key, Operation&& operation) {
    return find(key, [&](Cache& cache) {
      const pybind11::gil_scoped_release release_gil;
      return operation(cache);
    });
  }

 private:
  /// Throws Failure (closed).
  [[nodiscard]] std::shared_ptr<Cache> current() const;
  static std::optional<std::string> key_of(const Key* key) {
    return key == nullptr ? std::nullopt : std::optional<std::string>{key->view()};
  }
  template <class Operation>
  auto attempt(Operation&& operation) {
    auto result = operation(*current());
    if (!result && result.code() == Errc::closed && getpid() != pid_) {
      return operation(*current_here());
    }
    return result;
  }

  OpenOptions options_;
  std::shared_ptr<Cache> cache_;
  pid_t pid_;
};

void bind_cache(pybind11::module_& module);

}  // namespace cachee::python
