#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cachee/cachee.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "errors.hpp"
#include "native_cache.hpp"
#include "native_subscription.hpp"

namespace cachee::python {

namespace py = pybind11;

namespace {

using std::chrono::milliseconds;

constexpr EventKind kSubscribable[] = {EventKind::write, EventKind::del, EventKind::expire,
                                       EventKind::evict, EventKind::read};

/// The options as cachee/subscription.py has checked them.
SubscribeOptions to_options(py::handle pattern, std::string group, EventMask events,
                            std::string consumer, std::uint32_t retry_attempts,
                            std::int64_t backoff_min_ms, std::int64_t backoff_max_ms,
                            std::int64_t ack_deadline_ms, std::string socket) {
  SubscribeOptions options;
  options.group = std::move(group);
  options.pattern = Key{pattern, "a pattern is str or bytes-like"}.view();
  options.events = static_cast<Event>(events);
  options.consumer = std::move(consumer);
  options.retry_attempts = retry_attempts;
  options.backoff_min = milliseconds{backoff_min_ms};
  options.backoff_max = milliseconds{backoff_max_ms};
  options.ack_deadline = milliseconds{ack_deadline_ms};
  options.socket = std::move(socket);
  return options;
}

std::unique_ptr<NativeSubscription> subscribe(NativeCache& cache, SubscribeOptions options) {
  const std::string group = options.group;
  const auto here = cache.current_here();
  std::string refusal;
  auto made = [&] {
    const py::gil_scoped_release release_gil;
    return here->subscribe(std::move(options), refusal);
  }();
  if (!made) {
    Failure failure{made.error(), cache.name()};
    failure.set_group(group, refusal);
    throw failure;
  }
  return std::make_unique<NativeSubscription>(std::move(*made), cache.name(), group);
}

}  // namespace

void bind_subscription(py::module_& module) {
  py::class_<NativeSubscription>(module, "NativeSubscription",
                                 "A share in a consumer group; see cachee.Subscription.")
      .def(py::init([](NativeCache& cache, py::handle pattern, std::string group, EventMask events,
                       std::string consumer, std::uint32_t retry_attempts,
                       std::int64_t backoff_min_ms, std::int64_t backoff_max_ms,
                       std::int64_t ack_deadline_ms, std::string socket) {
             return subscribe(
                 cache,
                 to_options(pattern, std::move(group), events, std::move(consumer), retry_attempts,
                            backoff_min_ms, backoff_max_ms, ack_deadline_ms, std::move(socket)));
           }),
           py::arg("cache"), py::arg("pattern"), py::arg("group"), py::arg("events"),
           py::arg("consumer"), py::arg("retry_attempts"), py::arg("backoff_min_ms"),
           py::arg("backoff_max_ms"), py::arg("ack_deadline_ms"), py::arg("socket"))
      .def_property_readonly("closed", &NativeSubscription::closed)
      .def_property_readonly("calls", &NativeSubscription::calls)
      .def("stop", &NativeSubscription::stop)
      .def("close", &NativeSubscription::close)
      .def("read",
           [](NativeSubscription& self, const py::object& queue, std::int64_t patience_ms,
              std::size_t count_max) { self.read(queue, milliseconds{patience_ms}, count_max); })
      .def("ack", &NativeSubscription::ack)
      .def("nack",
           [](NativeSubscription& self, const std::string& id, std::optional<std::int64_t> delay_ms,
              std::string error) {
             const auto delay = delay_ms ? std::optional{milliseconds{*delay_ms}} : std::nullopt;
             self.nack(id, delay, std::move(error));
           })
      .def("lag", &NativeSubscription::lag);

  py::dict bits;
  for (const EventKind kind : kSubscribable) bits[event_name(kind)] = event_bit(kind);
  module.attr("event_bits") = bits;
  module.attr("group_events_max") = kGroupEventsMax;
  module.attr("group_events_default") = kGroupEventsDefault;
}

}  // namespace cachee::python
