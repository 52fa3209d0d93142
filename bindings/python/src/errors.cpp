#include "errors.hpp"

namespace cachee::python {

namespace py = pybind11;

namespace {

constexpr Errc kCodes[] = {
    Errc::ok,           Errc::not_found,        Errc::exists,          Errc::stale,
    Errc::full,         Errc::lapped,           Errc::would_block,     Errc::timed_out,
    Errc::not_a_number, Errc::overflow,         Errc::no_space,        Errc::io,
    Errc::permission,   Errc::busy,             Errc::unsupported,     Errc::no_supervisor,
    Errc::no_segment,   Errc::invalid_argument, Errc::layout_mismatch, Errc::corrupt,
    Errc::closed,       Errc::read_only,
};

}  // namespace

void Failure::raise() const {
  // The classes are Python: they are documented, typed and extended there.
  const py::module_ errors = py::module_::import("cachee.errors");
  const int code = static_cast<int>(error_.code);
  py::object error;
  if (group_) {
    // cacheed repeats what it was given, which need not be UTF-8.
    error = errors.attr("from_group")(code, error_.os_errno, to_string(error_), segment_, py::bytes(group_->name),
                                      py::bytes(group_->said));
  } else {
    const py::object key = key_ ? py::object(py::bytes(*key_)) : py::object(py::none());
    error = errors.attr("from_native")(code, error_.os_errno, error_.detail, to_string(error_), segment_, key);
  }
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
}

void bind_errors(py::module_& module) {
  py::register_exception_translator([](std::exception_ptr pending) {
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (const Failure& failure) {
      try {
        failure.raise();
      } catch (py::error_already_set& other) {
        other.restore();
      }
    }
  });
  module.def(
      "error_codes",
      [] {
        py::dict codes;
        for (const Errc code : kCodes) codes[to_string(code)] = static_cast<int>(code);
        return codes;
      },
      "Names and numbers of the library's error codes.");
}

}  // namespace cachee::python
