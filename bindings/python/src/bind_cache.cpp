#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "errors.hpp"
#include "native_cache.hpp"

namespace cachee::python {

namespace py = pybind11;

namespace {

/// What a memoryview of Cache.view() holds on to: `memoryview.obj`.
struct Pin {
  PinnedValue value;
};

constexpr const char* kMetadataExpected = "metadata is str or bytes-like";

/// The options of a write as cachee/cache.py has checked them; None where the user gave none.
SetOptions to_set_options(py::handle ttl_ns, py::handle cost, py::handle metadata,
                          py::handle depends_on) {
  SetOptions options;
  if (!ttl_ns.is_none()) options.ttl = Ttl{ttl_ns.cast<std::int64_t>()};
  if (!cost.is_none()) options.cost = to_double(cost, "cost");
  if (!metadata.is_none()) {
    for (const auto item : metadata.cast<py::dict>()) {
      options.metadata.emplace_back(Key{item.first, kMetadataExpected}.view(),
                                    Key{item.second, kMetadataExpected}.view());
    }
  }
  if (!depends_on.is_none()) {
    for (const py::handle parent : py::iter(depends_on)) {
      options.depends_on.emplace_back(Key{parent}.view());
    }
  }
  return options;
}

py::object none_or(const std::optional<std::string>& bytes) {
  if (!bytes) return py::none();
  return py::bytes(*bytes);
}

py::object get(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  const auto value = self.find(&key, [&](Cache& cache) { return cache.get(key.view()); });
  if (!value) return py::none();
  return to_bytes(value->bytes);
}

py::list get_many(NativeCache& self, const py::list& key_objects) {
  std::vector<Key> keys;
  std::vector<KeyView> views;
  keys.reserve(key_objects.size());
  views.reserve(key_objects.size());
  for (const py::handle object : key_objects) views.push_back(keys.emplace_back(object).view());
  py::list values(views.size());
  bool no_memory = false;
  self.run(nullptr, [&](Cache& cache) {
    // Makes bytes objects only: they start no garbage collection, so no foreign code runs here.
    return cache.get_many(views, [&](std::size_t index, std::optional<ValueView> value) {
      PyObject* bytes = nullptr;
      if (value) {
        bytes = PyBytes_FromStringAndSize(value->data(), static_cast<Py_ssize_t>(value->size()));
        no_memory = no_memory || bytes == nullptr;
      }
      if (bytes == nullptr) Py_INCREF(bytes = Py_None);
      PyObject* const old = PyList_GET_ITEM(values.ptr(), static_cast<Py_ssize_t>(index));
      PyList_SET_ITEM(values.ptr(), static_cast<Py_ssize_t>(index), bytes);
      Py_XDECREF(old);
    });
  });
  if (no_memory) throw py::error_already_set();
  return values;
}

py::object view(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  auto pinned = self.run(&key, [&](Cache& cache) { return cache.view(key.view()); });
  const py::object pin = py::cast(Pin{std::move(pinned)});
  auto memory = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(pin.ptr()));
  if (!memory) throw py::error_already_set();
  return memory;
}

py::dict inspect(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  const Entry entry = self.run(&key, [&](Cache& cache) { return cache.inspect(key.view()); });
  py::dict metadata;
  for (const auto& [name, value] : entry.metadata) metadata[py::bytes(name)] = py::bytes(value);
  py::list depends_on;
  for (const auto& parent : entry.depends_on) depends_on.append(py::bytes(parent));
  py::dict fields;
  fields["value"] = py::bytes(entry.value);
  fields["version"] = entry.version;
  fields["cost"] = entry.cost;
  fields["metadata"] = metadata;
  fields["depends_on"] = depends_on;
  fields["ttl_ms"] = entry.ttl ? py::object(py::int_(entry.ttl->count())) : py::none();
  fields["age_ms"] = entry.age.count();
  fields["bytes"] = entry.bytes;
  return fields;
}

bool contains(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  return self.run(&key, [&](Cache& cache) { return cache.contains(key.view()); });
}

py::object ttl_ms(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  const auto left = self.run(&key, [&](Cache& cache) { return cache.ttl(key.view()); });
  if (!left) return py::none();
  return py::int_(left->count());
}

std::uint64_t set(NativeCache& self, py::handle key_object, py::handle value_object,
                  py::handle ttl_ns, py::handle cost, py::handle metadata, py::handle depends_on,
                  bool nx, bool xx, py::handle if_version) {
  const Key key{key_object};
  const BufferValue value{value_object};
  SetOptions options = to_set_options(ttl_ns, cost, metadata, depends_on);
  if (nx) options.condition = Condition::absent;
  if (xx) options.condition = Condition::present;
  if (!if_version.is_none()) {
    options.if_version = to_uint64(if_version, "if_version");
    if (!options.if_version) throw py::value_error("if_version is from 0 to 2**64-1");
  }
  const WriteResult written = self.run_unlocked(
      &key, [&](Cache& cache) { return cache.set(key.view(), value.view(), options); });
  return written.version;
}

/// Stores in the order of the list, and stops at the first failure.
void set_many(NativeCache& self, const py::list& items, py::handle ttl_ns, py::handle cost,
              py::handle metadata, py::handle depends_on) {
  std::vector<std::pair<Key, BufferValue>> pairs;
  pairs.reserve(items.size());
  for (const py::handle item : items) {
    const auto pair = item.cast<std::pair<py::object, py::object>>();
    pairs.emplace_back(Key{pair.first}, BufferValue{pair.second});
  }
  std::vector<KeyValue> views;
  views.reserve(pairs.size());
  for (const auto& [key, value] : pairs) views.push_back({key.view(), value.view()});
  const SetOptions options = to_set_options(ttl_ns, cost, metadata, depends_on);
  std::size_t next = 0;
  try {
    self.run_unlocked(nullptr, [&](Cache& cache) {
      return cache.set_many(views, options, [&](std::size_t index, const WriteResult&) { next = index + 1; });
    });
  } catch (Failure& failure) {
    if (next < pairs.size()) failure.set_key(pairs[next].first.view());
    throw;
  }
}

std::int64_t increment(NativeCache& self, py::handle key_object, py::handle delta_object,
                       py::handle initial_object) {
  const Key key{key_object};
  const auto delta = to_int64(delta_object, "delta");
  const auto initial = to_int64(initial_object, "initial");
  return self.run_unlocked(&key, [&](Cache& cache) -> Result<std::int64_t> {
    // What is out of range before it is added is so behind it.
    if (!delta || !initial) return Errc::overflow;
    return cache.increment(key.view(), *delta, {.initial = *initial});
  });
}

std::size_t append(NativeCache& self, py::handle key_object, py::handle suffix_object) {
  const Key key{key_object};
  const BufferValue suffix{suffix_object};
  return self.run_unlocked(
      &key, [&](Cache& cache) { return cache.append(key.view(), suffix.view()); });
}

bool touch(NativeCache& self, py::handle key_object, std::int64_t ttl_ns) {
  const Key key{key_object};
  const auto done = self.find_unlocked(
      &key, [&](Cache& cache) { return cache.touch(key.view(), Ttl{ttl_ns}); });
  return done && *done;
}

bool persist(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  const auto done =
      self.find_unlocked(&key, [&](Cache& cache) { return cache.persist(key.view()); });
  return done && *done;
}

bool erase(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  return self.find_unlocked(&key, [&](Cache& cache) { return cache.erase(key.view()); })
      .has_value();
}

py::object pop(NativeCache& self, py::handle key_object) {
  const Key key{key_object};
  const auto erased = self.find_unlocked(
      &key, [&](Cache& cache) { return cache.erase(key.view(), {.return_old = true}); });
  if (!erased) return py::none();
  return none_or(erased->old_value);
}

py::tuple scan(NativeCache& self, std::uint64_t cursor, std::size_t count) {
  std::vector<std::string> keys;
  const ScanResult scanned = self.run_unlocked(nullptr, [&](Cache& cache) {
    return cache.scan(cursor, count, [&](KeyView key) { keys.emplace_back(key); });
  });
  py::list found(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) found[i] = py::bytes(keys[i]);
  return py::make_tuple(scanned.cursor, found);
}

py::object random_key(NativeCache& self) {
  const auto key = self.find(nullptr, [](Cache& cache) { return cache.random_key(); });
  return key ? py::object(py::bytes(*key)) : py::none();
}

py::dict stats_to_dict(const ClientStats& stats) {
  py::dict out;
  out["hits"] = stats.hits;
  out["misses"] = stats.misses;
  out["sets"] = stats.sets;
  out["deletes"] = stats.deletes;
  out["expired"] = stats.expired;
  out["evicted"] = stats.evicted;
  out["events"] = stats.events;
  out["backpressure"] = stats.backpressure;
  out["retries"] = stats.retries;
  return out;
}

py::dict info(NativeCache& self) {
  const SegmentInfo segment =
      self.run_unlocked(nullptr, [](Cache& cache) { return segment_info(cache); });
  py::dict ring;
  ring["capacity"] = segment.ring.capacity;
  ring["head"] = segment.ring.head;
  ring["tail"] = segment.ring.tail;
  ring["admission_limit"] = segment.ring.admission_limit;
  py::dict out;
  out["name"] = segment.name;
  out["layout"] = segment.layout;
  out["epoch"] = segment.epoch;
  out["segment_bytes"] = segment.segment_bytes;
  out["data_bytes"] = segment.data_bytes;
  out["used_bytes"] = segment.used_bytes;
  out["value_bytes_max"] = segment.value_bytes_max;
  out["keys"] = segment.keys;
  out["clients"] = segment.clients;
  out["clients_max"] = segment.clients_max;
  out["triggers"] = segment.triggers;
  out["supervisor_pid"] = segment.supervisor_pid;
  out["supervisor_heartbeat_age_ms"] = segment.supervisor_heartbeat_age_ms;
  out["uptime_ms"] = segment.uptime_ms;
  out["eviction_policy"] = segment.eviction_policy;
  out["totals"] = stats_to_dict(segment.totals);
  out["ring"] = ring;
  return out;
}

NativeCache open(std::string name, bool read_only, std::string client_name) {
  OpenOptions options;
  options.name = std::move(name);
  options.access = read_only ? Access::read_only : Access::read_write;
  options.client_name = std::move(client_name);
  return NativeCache{std::move(options)};
}

}  // namespace

void bind_cache(py::module_& module) {
  py::class_<Pin>(module, "Pin", py::buffer_protocol(),
                  "A value that is kept in place; memoryview.obj of Cache.view().")
      .def_buffer([](Pin& pin) {
        const ValueView bytes = pin.value.bytes();
        return py::buffer_info(reinterpret_cast<const unsigned char*>(bytes.data()),
                               static_cast<py::ssize_t>(bytes.size()));
      })
      .def_property_readonly("version", [](const Pin& pin) { return pin.value.version(); })
      .def_property_readonly("in_place", [](const Pin& pin) { return pin.value.in_place(); });

  py::class_<NativeCache>(module, "NativeCache", "A handle on a segment; see cachee.Cache.")
      .def(py::init(&open), py::arg("name"), py::arg("read_only"), py::arg("client_name"))
      .def_property_readonly("name", &NativeCache::name)
      .def_property_readonly("closed", &NativeCache::closed)
      .def("close", &NativeCache::close)
      .def("supervisor_alive",
           [](NativeCache& self) { return self.current_here()->supervisor_alive(); })
      .def("get", &get)
      .def("get_many", &get_many)
      .def("view", &view)
      .def("inspect", &inspect)
      .def("contains", &contains)
      .def("ttl_ms", &ttl_ms)
      .def("set", &set)
      .def("set_many", &set_many)
      .def("increment", &increment)
      .def("append", &append)
      .def("touch", &touch)
      .def("persist", &persist)
      .def("erase", &erase)
      .def("pop", &pop)
      .def("clear",
           [](NativeCache& self) {
             return self.run_unlocked(nullptr, [](Cache& cache) { return cache.clear(); });
           })
      .def("scan", &scan)
      .def("size",
           [](NativeCache& self) {
             return self.run_unlocked(nullptr, [](Cache& cache) { return cache.size(); });
           })
      .def("random_key", &random_key)
      .def("info", &info);

  module.def(
      "glob_match",
      [](py::handle pattern, py::handle key) {
        return glob_match(Key{pattern}.view(), Key{key}.view());
      },
      "Whether a Redis glob (* ? [a-z] [^x] \\) matches.");
  module.attr("key_bytes_max") = kKeyBytesMax;
}

}  // namespace cachee::python
