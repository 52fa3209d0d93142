// Python objects as bytes, without a copy where there need not be one.
#pragma once

#include <pybind11/pybind11.h>

#include <cachee/types.hpp>
#include <cstdint>
#include <optional>

namespace cachee::python {

/// The bytes of a key: a str as UTF-8, or any buffer. Borrows from the object, which it keeps.
///
/// Code points that stand for undecodable bytes (surrogateescape) become those bytes again, so
/// that keys which Python decoded find their way back.
class Key {
 public:
  explicit Key(pybind11::handle object, const char* expected = "a key is str or bytes-like");
  ~Key();
  Key(Key&&) noexcept;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  Key& operator=(Key&&) = delete;
  [[nodiscard]] KeyView view() const noexcept { return view_; }

 private:
  pybind11::object owner_;
  Py_buffer buffer_{};
  KeyView view_;
};

/// The bytes of a value: any buffer, in C order; a copy where they do not lie together. Keeps the
/// buffer exported, so it cannot be resized while the GIL is released.
class BufferValue {
 public:
  explicit BufferValue(pybind11::handle object);
  ~BufferValue();
  BufferValue(BufferValue&&) noexcept;
  BufferValue(const BufferValue&) = delete;
  BufferValue& operator=(const BufferValue&) = delete;
  BufferValue& operator=(BufferValue&&) = delete;
  [[nodiscard]] ValueView view() const noexcept { return view_; }

 private:
  pybind11::object owner_;
  Py_buffer buffer_{};
  ValueView view_;
};

/// A number that is given as `name`; TypeError or ValueError that say so otherwise.
[[nodiscard]] double to_double(pybind11::handle object, const char* name);
/// An int, or what stands for one (__index__); TypeError otherwise. nullopt: it does not fit.
[[nodiscard]] std::optional<std::int64_t> to_int64(pybind11::handle object, const char* name);
[[nodiscard]] std::optional<std::uint64_t> to_uint64(pybind11::handle object, const char* name);

/// A bytes object with a copy. The GIL is given up while a large value is copied.
[[nodiscard]] pybind11::bytes to_bytes(ValueView value);

}  // namespace cachee::python
