#include "convert.hpp"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace cachee::python {

namespace py = pybind11;

namespace {

// From here on a copy takes longer than handing the GIL over may.
constexpr std::size_t kCopyWithoutGilBytes = std::size_t{256} << 10;

// An empty buffer may have no address.
std::string_view view_of(const Py_buffer& buffer) noexcept {
  if (buffer.len == 0) return "";
  return {static_cast<const char*>(buffer.buf), static_cast<std::size_t>(buffer.len)};
}

std::string_view view_of(py::handle bytes) noexcept {
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

/// The bytes of a buffer: in place where they lie together, else a copy that `copy` keeps.
std::string_view take_buffer(py::handle object, Py_buffer& buffer, py::object& copy,
                             const char* expected) {
  if (PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_SIMPLE) == 0) return view_of(buffer);
  if (PyErr_ExceptionMatches(PyExc_TypeError)) {
    PyErr_Clear();
    throw py::type_error(std::string(expected) + ", not " + Py_TYPE(object.ptr())->tp_name);
  }
  // A buffer with gaps says BufferError; numpy's says ValueError.
  if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) {
    throw py::error_already_set();
  }
  PyErr_Clear();
  Py_buffer scattered{};
  if (PyObject_GetBuffer(object.ptr(), &scattered, PyBUF_FULL_RO) != 0) {
    throw py::error_already_set();
  }
  copy = py::reinterpret_steal<py::object>(PyBytes_FromStringAndSize(nullptr, scattered.len));
  const bool copied = copy && PyBuffer_ToContiguous(PyBytes_AS_STRING(copy.ptr()), &scattered,
                                                    scattered.len, 'C') == 0;
  PyBuffer_Release(&scattered);
  if (!copied) throw py::error_already_set();
  return view_of(copy);
}

/// `object` as an int object.
py::object to_index(py::handle object, const char* name) {
  auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (index) return index;
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
  PyErr_Clear();
  throw py::type_error(std::string(name) + " is an int, not " + Py_TYPE(object.ptr())->tp_name);
}

/// True after a conversion that failed because the number does not fit.
bool did_not_fit() {
  if (PyErr_Occurred() == nullptr) return false;
  if (!PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
  PyErr_Clear();
  return true;
}

void release(Py_buffer& buffer) noexcept {
  if (buffer.obj != nullptr) PyBuffer_Release(&buffer);
}

}  // namespace

Key::Key(py::handle object, const char* expected) {
  if (PyBytes_CheckExact(object.ptr())) {
    owner_ = py::reinterpret_borrow<py::object>(object);
    view_ = view_of(owner_);
    return;
  }
  if (PyUnicode_Check(object.ptr())) {
    Py_ssize_t bytes = 0;
    if (const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &bytes)) {
      owner_ = py::reinterpret_borrow<py::object>(object);
      view_ = {text, static_cast<std::size_t>(bytes)};
      return;
    }
    PyErr_Clear();
    owner_ = py::reinterpret_steal<py::object>(
        PyUnicode_AsEncodedString(object.ptr(), "utf-8", "surrogateescape"));
    if (!owner_) throw py::error_already_set();
    view_ = view_of(owner_);
    return;
  }
  view_ = take_buffer(object, buffer_, owner_, expected);
}

Key::Key(Key&& other) noexcept
    : owner_{std::move(other.owner_)}, buffer_{other.buffer_}, view_{other.view_} {
  other.buffer_.obj = nullptr;
}

Key::~Key() { release(buffer_); }

BufferValue::BufferValue(py::handle object)
    : view_{take_buffer(
          object, buffer_, owner_,
          "a value is bytes-like (encode a str, or open the cache with a serializer)")} {}

BufferValue::BufferValue(BufferValue&& other) noexcept
    : owner_{std::move(other.owner_)}, buffer_{other.buffer_}, view_{other.view_} {
  other.buffer_.obj = nullptr;
}

BufferValue::~BufferValue() { release(buffer_); }

double to_double(py::handle object, const char* name) {
  const double number = PyFloat_AsDouble(object.ptr());
  if (number != -1.0) return number;
  if (PyErr_Occurred() != nullptr && PyErr_ExceptionMatches(PyExc_TypeError)) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + " is a number, not " + Py_TYPE(object.ptr())->tp_name);
  }
  if (did_not_fit()) throw py::value_error(std::string(name) + " is a number that a float can hold");
  return number;
}

std::optional<std::int64_t> to_int64(py::handle object, const char* name) {
  const py::object index = to_index(object, name);
  const std::int64_t number = PyLong_AsLongLong(index.ptr());
  if (number == -1 && did_not_fit()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> to_uint64(py::handle object, const char* name) {
  const py::object index = to_index(object, name);
  const std::uint64_t number = PyLong_AsUnsignedLongLong(index.ptr());
  if (number == static_cast<std::uint64_t>(-1) && did_not_fit()) return std::nullopt;
  return number;
}

py::bytes to_bytes(ValueView value) {
  if (value.size() < kCopyWithoutGilBytes) return {value.data(), value.size()};
  auto copy = py::reinterpret_steal<py::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(value.size())));
  if (!copy) throw py::error_already_set();
  char* const to = PyBytes_AS_STRING(copy.ptr());
  const py::gil_scoped_release release_gil;
  std::memcpy(to, value.data(), value.size());
  return copy;
}

}  // namespace cachee::python
