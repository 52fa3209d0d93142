#include "group_event.hpp"

#include <cachee/types.hpp>
#include <string>

#include "convert.hpp"

namespace cachee::python {

namespace py = pybind11;

namespace {

constexpr double kUsPerSecond = 1e6;
constexpr double kUsPerMs = 1e3;

/// Bytes that are no UTF-8 are escaped as Key takes them back.
py::object text(const std::string& bytes) {
  auto decoded = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape"));
  if (!decoded) throw py::error_already_set();
  return decoded;
}

py::dict texts(const Metadata& pairs) {
  py::dict out;
  for (const auto& [name, value] : pairs) out[text(name)] = text(value);
  return out;
}

}  // namespace

py::dict to_dict(const GroupEvent& event) {
  py::dict out;
  out["id"] = text(event.id);
  out["type"] = to_string(event.kind);
  out["cause"] = to_string(event.cause);
  out["key"] = py::bytes(event.key);
  out["value"] = to_bytes(event.value);
  out["old_value"] = event.old_value ? py::object(to_bytes(*event.old_value)) : py::none();
  out["metadata"] = texts(event.metadata);
  out["cost"] = event.cost;
  out["timestamp"] = static_cast<double>(event.timestamp_wall_us) / kUsPerSecond;
  out["deadline"] =
      event.deadline_wall_us
          ? py::object(py::float_(static_cast<double>(*event.deadline_wall_us) / kUsPerSecond))
          : py::none();
  out["ttl_ms"] = event.ttl_ms ? py::object(py::int_(*event.ttl_ms)) : py::none();
  out["lag_ms"] = static_cast<double>(event.lag_us) / kUsPerMs;
  out["version"] = event.version;
  out["attempt"] = event.attempt;
  out["duplicate"] = event.duplicate;
  out["depth"] = event.depth;
  out["chain"] = text(event.chain);
  out["parent"] = event.parent.empty() ? py::object(py::none()) : text(event.parent);
  out["origin"] = py::make_tuple(to_string(event.origin_role), event.origin_pid,
                                 text(event.origin_client), text(event.origin_instance));
  out["hits"] = event.hits;
  out["age_ms"] = event.age_ms;
  out["size"] = event.size;
  return out;
}

}  // namespace cachee::python
