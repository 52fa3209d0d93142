// cachee._cachee: the compiled half of the Python package. It deals in bytes, nanoseconds and
// numbers; cachee/*.py make it pleasant.
#include <pybind11/pybind11.h>

#include <cachee/version.hpp>

#include "errors.hpp"
#include "native_cache.hpp"
#include "native_subscription.hpp"

PYBIND11_MODULE(_cachee, module) {
  module.doc() = "Shared-memory cache: the compiled half of the package cachee.";
  module.attr("version") = cachee::kVersion;
  cachee::python::bind_errors(module);
  cachee::python::bind_cache(module);
  cachee::python::bind_subscription(module);
}
