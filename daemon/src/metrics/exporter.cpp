#include "metrics/exporter.hpp"

#include <exception>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <cachee/inspect.hpp>
#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

namespace cachee::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kSecondsBounds[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10};

class Families {
 public:
  void gauge(const char* name, const char* help, double value) { add(name, help, MetricType::Gauge, value, {}); }
  void counter(const char* name, const char* help, std::uint64_t value) {
    add(name, help, MetricType::Counter, static_cast<double>(value), {});
  }
  void labelled(const char* name, const char* help, MetricType type, std::uint64_t value, std::vector<ClientMetric::Label> labels) {
    add(name, help, type, static_cast<double>(value), std::move(labels));
  }
  /// `unit`: how many of the histogram's units are a second.
  void histogram(const char* name, const char* help, const Histogram& values, double unit, std::vector<ClientMetric::Label> labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_count = values.count();
    metric.histogram.sample_sum = static_cast<double>(values.sum()) / unit;
    for (const double bound : kSecondsBounds) {
      metric.histogram.bucket.push_back({values.count_through(static_cast<std::uint64_t>(bound * unit)), bound});
    }
    metric.histogram.bucket.push_back({values.count(), std::numeric_limits<double>::infinity()});
    family(name, help, MetricType::Histogram).metric.push_back(std::move(metric));
  }
  [[nodiscard]] std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  void add(const char* name, const char* help, MetricType type, double value, std::vector<ClientMetric::Label> labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family(name, help, type).metric.push_back(std::move(metric));
  }
  MetricFamily& family(const char* name, const char* help, MetricType type) {
    if (families_.empty() || families_.back().name != name) {
      MetricFamily made;
      made.name = name;
      made.help = help;
      made.type = type;
      families_.push_back(std::move(made));
    }
    return families_.back();
  }
  std::vector<MetricFamily> families_;
};

void add_segment(const Cache& cache, Families& out) {
  const auto info = segment_info(cache);
  if (!info) return;
  const auto number = [](std::uint64_t n) { return static_cast<double>(n); };
  out.gauge("cachee_keys", "Keys in the cache.", number(info->keys));
  out.gauge("cachee_clients", "Attached client threads.", number(info->clients));
  out.gauge("cachee_memory_bytes", "Bytes for records.", number(info->data_bytes));
  out.gauge("cachee_memory_used_bytes", "Bytes in blocks that hold a record or wait to be free.", number(info->used_bytes));
  out.gauge("cachee_pages_free", "Pages that belong to no size class.", number(info->pages_free));
  out.gauge("cachee_ring_capacity_events", "Events that the ring holds.", number(info->ring.capacity));
  out.gauge("cachee_ring_depth_events", "Events that are not released.", number(info->ring.tail - info->ring.head));
  out.gauge("cachee_ring_admission_limit_events", "Depth above which writers of watched keys wait.", number(info->ring.admission_limit));
  out.counter("cachee_hits_total", "Reads that found their key.", info->totals.hits);
  out.counter("cachee_misses_total", "Reads that did not.", info->totals.misses);
  out.counter("cachee_sets_total", "Writes.", info->totals.sets);
  out.counter("cachee_deletes_total", "Keys erased.", info->totals.deletes);
  out.counter("cachee_expired_total", "Keys whose deadline passed.", info->totals.expired);
  out.counter("cachee_evicted_total", "Keys evicted for room.", info->totals.evicted);
  out.counter("cachee_events_total", "Events appended to the ring.", info->totals.events);
  out.counter("cachee_backpressure_total", "Writes that met a full ring.", info->totals.backpressure);
}

void add_triggers(TriggerAdmin& triggers, Families& out) {
  const auto rows = triggers.account();
  if (!rows) return;
  using Field = std::uint64_t TriggerAccount::*;
  const auto each = [&](const char* name, const char* help, MetricType type, Field field) {
    for (const TriggerAccount& row : *rows) {
      ClientMetric::Label label;
      label.name = "trigger";
      label.value = row.name;
      out.labelled(name, help, type, row.*field, {label});
    }
  };
  each("cachee_trigger_emitted_total", "Events owed to the trigger.", MetricType::Counter, &TriggerAccount::emitted);
  each("cachee_trigger_acknowledged_total", "Of them handled.", MetricType::Counter, &TriggerAccount::acknowledged);
  each("cachee_trigger_in_flight", "Of them in the ring.", MetricType::Gauge, &TriggerAccount::in_flight);
  each("cachee_trigger_retry", "Of them waiting for a retry.", MetricType::Gauge, &TriggerAccount::retry);
  each("cachee_trigger_dead_letters", "Of them given up.", MetricType::Gauge, &TriggerAccount::dead);
}

void add_times(TriggerAdmin& triggers, Families& out) {
  const auto rows = triggers.trigger_times();
  if (!rows) return;
  const auto each = [&](const char* name, const char* help, Histogram TriggerTimes::*histogram, double unit) {
    for (const TriggerTimes& row : *rows) {
      ClientMetric::Label label;
      label.name = "trigger";
      label.value = row.name;
      out.histogram(name, help, row.*histogram, unit, {label});
    }
  };
  each("cachee_trigger_run_seconds", "How long its handler ran.", &TriggerTimes::run_ns, 1e9);
  each("cachee_trigger_lag_seconds", "From what happened to the start of the run.", &TriggerTimes::lag_us, 1e6);
}

class Collector final : public prometheus::Collectable {
 public:
  Collector(Cache cache, TriggerAdmin& triggers) : cache_{std::move(cache)}, triggers_{triggers} {}
  std::vector<MetricFamily> Collect() const override {
    Families out;
    add_segment(cache_, out);
    add_triggers(triggers_, out);
    add_times(triggers_, out);
    return out.take();
  }

 private:
  Cache cache_;
  TriggerAdmin& triggers_;
};

class PrometheusExporter final : public MetricsExporter {
 public:
  PrometheusExporter(const std::string& address, Cache cache, TriggerAdmin& triggers)
      : collector_{std::make_shared<Collector>(std::move(cache), triggers)}, exposer_{address, 1} {
    exposer_.RegisterCollectable(collector_);
  }

 private:
  std::shared_ptr<Collector> collector_;
  prometheus::Exposer exposer_;
};

}  // namespace

Outcome<std::unique_ptr<MetricsExporter>> MetricsExporter::start(const ListenAddress& address, Cache cache, TriggerAdmin& triggers) {
  const std::string text = format_address(address);
  try {
    return std::unique_ptr<MetricsExporter>{std::make_unique<PrometheusExporter>(text, std::move(cache), triggers)};
  } catch (const std::exception& error) {
    return Failure{Errc::io, fmt::format("--metrics {}: {}; is the port taken?", text, error.what())};
  }
}

}  // namespace cachee::daemon
