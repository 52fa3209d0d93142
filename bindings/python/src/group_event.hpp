// Events of consumer groups as Python objects.
#pragma once

#include <pybind11/pybind11.h>

#include <cachee/subscription.hpp>

namespace cachee::python {

/// The fields of cachee/events.py under their names there; keys and values are bytes.
[[nodiscard]] pybind11::dict to_dict(const GroupEvent& event);

}  // namespace cachee::python
