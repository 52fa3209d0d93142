// What the sources of the C ABI share: failures, options and results of callers with other headers.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>

#include <cachee/cachee.h>
#include <cachee/cachee.hpp>

struct cachee_cache {
  cachee::Cache cache;
};

namespace cachee::capi {

inline thread_local cachee_error last_error{};

inline cachee_status fail(const Error& error) noexcept {
  last_error = {static_cast<cachee_status>(error.code), error.os_errno, error.detail};
  return last_error.status;
}
inline cachee_status fail(Errc code) noexcept { return fail(Error{code, 0, 0}); }
inline cachee_status fail_memory() noexcept { return fail(Error{Errc::no_space, ENOMEM, 0}); }

// Runs a function that may allocate: what the standard library throws ends here.
template <class Function>
cachee_status guarded(Function&& function) noexcept {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return fail_memory();
  } catch (...) {  // std::length_error: a count that cannot be true
    return fail(Errc::invalid_argument);
  }
}

inline bool is_bytes(const void* data, std::size_t bytes) noexcept {
  return data != nullptr || bytes == 0;
}

// Of bytes that is_bytes() accepted; never a view of a null pointer.
inline std::string_view view_of(const void* data, std::size_t bytes) noexcept {
  return bytes == 0 ? std::string_view{""}
                    : std::string_view{static_cast<const char*>(data), bytes};
}

/// Takes a caller's options, which may be of an older or a newer header than ours.
/// @error unsupported  newer, and a field that we do not know is set
template <class Options>
Errc read_options(const Options* in, const Options& defaults, Options& out) noexcept {
  static_assert(std::is_trivially_copyable_v<Options>);
  out = defaults;
  if (in == nullptr) return Errc::ok;
  std::uint32_t struct_bytes = 0;
  std::memcpy(&struct_bytes, in, sizeof struct_bytes);
  // Every struct still has its first size; a later one lowers this to the size of version 1.
  if (struct_bytes < sizeof(Options)) return Errc::invalid_argument;
  const auto* bytes = reinterpret_cast<const unsigned char*>(in);
  if (std::any_of(bytes + sizeof(Options), bytes + struct_bytes,
                  [](unsigned char byte) { return byte != 0; })) {
    return Errc::unsupported;
  }
  std::memcpy(&out, in, sizeof(Options));
  return Errc::ok;
}

/// True when results may be written to `out`: it is null or says a size that we know.
template <class ResultStruct>
bool is_result(const ResultStruct* out) noexcept {
  return out == nullptr || out->struct_bytes >= sizeof(ResultStruct);
}

/// Fills the part of the caller's struct that both know, and zeroes what only the caller knows.
template <class ResultStruct>
void write_result(ResultStruct* out, ResultStruct filled) noexcept {
  filled.struct_bytes = out->struct_bytes;
  auto* bytes = reinterpret_cast<unsigned char*>(out);
  std::memcpy(bytes, &filled, sizeof filled);
  std::memset(bytes + sizeof filled, 0, filled.struct_bytes - sizeof filled);
}

}  // namespace cachee::capi
