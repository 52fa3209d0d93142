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

void get_buffer(py::handle object, Py_buffer& buffer, const char* expected) {
  if (PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_SIMPLE) == 0) return;
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
  PyErr_Clear();
  throw py::type_error(std::string(expected) + ", not " + Py_TYPE(object.ptr())->tp_name);
}

// An empty buffer may have no address.
std::string_view view_of(const Py_buffer& buffer) noexcept {
  if (buffer.len == 0) return "";
  return {static_cast<const char*>(buffer.buf), static_cast<std::size_t>(buffer.len)};
}

std::string_view view_of(py::handle bytes) noexcept {
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
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
  get_buffer(object, buffer_, expected);
  view_ = view_of(buffer_);
}

Key::Key(Key&& other) noexcept
    : owner_{std::move(other.owner_)}, buffer_{other.buffer_}, view_{other.view_} {
  other.buffer_.obj = nullptr;
}

Key::~Key() { release(buffer_); }

BufferValue::BufferValue(py::handle object) {
  get_buffer(object, buffer_,
             "a value is bytes-like (encode a str, or open the cache with a serializer)");
}

BufferValue::BufferValue(BufferValue&& other) noexcept : buffer_{other.buffer_} {
  other.buffer_.obj = nullptr;
}

BufferValue::~BufferValue() { release(buffer_); }

ValueView BufferValue::view() const noexcept { return view_of(buffer_); }

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
