// Where exceptions stop: turns what the store's inner parts throw into a Failure.
#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "core/outcome.hpp"
#include "store/sqlite.hpp"

namespace cachee::daemon {

template <class F>
[[nodiscard]] auto guard(F&& work) noexcept -> Outcome<std::invoke_result_t<F>> {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      work();
      return {};
    } else {
      return work();
    }
  } catch (const sql::Error& error) {
    return Failure{error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{Errc::no_space, "the store ran out of memory"};
  } catch (const std::exception& error) {
    return Failure{Errc::io, error.what()};
  }
}

}  // namespace cachee::daemon
