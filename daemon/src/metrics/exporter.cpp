#include "metrics/exporter.hpp"

#include <exception>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cachee/inspect.hpp>
#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include "core/clock.hpp"

namespace cachee::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kRunBounds[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10};
constexpr double kRequestBounds[] = {1e-3, 5e-3, 1e-2, 5e-2, 1e-1, 5e-1, 1, 5, 10, 60};
constexpr double kDeliveryBounds[] = {1e-2, 1e-1, 1, 10, 60, 600, 3600, 86400};
constexpr double kStepsBounds[] = {10, 100, 1e3, 1e4, 1e5, 1e6, 1e7};
constexpr double kKiB = 1024;
constexpr double kMemoryBounds[] = {16 * kKiB, 64 * kKiB, 256 * kKiB, 1024 * kKiB, 4096 * kKiB, 16384 * kKiB, 65536 * kKiB};

constexpr const char* kCensusHelp =
    " Counted in the background: as of cachee_slab_age_seconds ago, seconds to some minutes; an estimate where a class"
    " has a million blocks or more.";

class Families {
 public:
  void gauge(const char* name, const char* help, double value) { add(name, help, MetricType::Gauge, value, {}); }
  void counter(const char* name, const char* help, std::uint64_t value) {
    add(name, help, MetricType::Counter, static_cast<double>(value), {});
  }
  void labelled(const char* name, const char* help, MetricType type, std::uint64_t value, std::vector<ClientMetric::Label> labels) {
    add(name, help, type, static_cast<double>(value), std::move(labels));
  }
  void labelled(const char* name, const char* help, MetricType type, double value, std::vector<ClientMetric::Label> labels) {
    add(name, help, type, value, std::move(labels));
  }
  /// `unit`: how many of the histogram's units are one of the metric's.
  void histogram(const char* name, const char* help, const Histogram& values, double unit, std::span<const double> bounds,
                 std::vector<ClientMetric::Label> labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_count = values.count();
    metric.histogram.sample_sum = static_cast<double>(values.sum()) / unit;
    for (const double bound : bounds) {
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
  out.labelled("cachee_evicted_cost_total", "Sum of the costs of the keys that were evicted.", MetricType::Counter, info->totals.evicted_cost, {});
  out.gauge("cachee_evicted_cost_minute", "Cost of what was evicted in the last minute, to a second; since the start of cacheed, if that is later.",
            info->evicted_cost_minute);
  out.counter("cachee_events_total", "Events appended to the ring.", info->totals.events);
  out.counter("cachee_backpressure_total", "Writes that met a full ring.", info->totals.backpressure);
}

struct SlabRow {
  std::string block_bytes{};
  SlabClassInfo info{};
  std::uint64_t live_bytes = 0;
};

/// Runs of pages have any length: one row for all, or there would be as many series as lengths.
std::vector<SlabRow> slab_rows(const SlabCensus& census) {
  std::vector<SlabRow> rows;
  SlabRow runs{"runs"};
  for (const SlabClassInfo& info : census.classes) {
    const std::uint64_t live_bytes = info.live * info.block_bytes;
    if (info.block_bytes * info.pages < info.page_bytes) {
      rows.push_back({std::to_string(info.block_bytes), info, live_bytes});
      continue;
    }
    for (const auto count : {&SlabClassInfo::pages, &SlabClassInfo::free, &SlabClassInfo::live, &SlabClassInfo::waiting,
                             &SlabClassInfo::requested_bytes}) {
      runs.info.*count += info.*count;
    }
    runs.live_bytes += live_bytes;
  }
  if (runs.info.pages != 0) rows.push_back(std::move(runs));
  return rows;
}

void add_slabs(const SlabCensus& census, Families& out) {
  if (census.since == 0) return;
  const auto rows = slab_rows(census);
  const auto each = [&](const char* name, const std::string& help, auto&& value_of) {
    for (const SlabRow& row : rows) {
      ClientMetric::Label label;
      label.name = "block_bytes";
      label.value = row.block_bytes;
      out.labelled(name, (help + kCensusHelp).c_str(), MetricType::Gauge, value_of(row), {label});
    }
  };
  each("cachee_slab_pages", "Pages of the size class.", [](const SlabRow& row) { return row.info.pages; });
  each("cachee_slab_live_blocks", "Blocks that hold a record.", [](const SlabRow& row) { return row.info.live; });
  each("cachee_slab_free_blocks", "Blocks that hold nothing.", [](const SlabRow& row) { return row.info.free; });
  each("cachee_slab_waiting_blocks", "Blocks that wait to be free.", [](const SlabRow& row) { return row.info.waiting; });
  each("cachee_slab_live_bytes", "Bytes of blocks that hold a record.", [](const SlabRow& row) { return row.live_bytes; });
  each("cachee_slab_requested_bytes", "Of them, bytes that the records need.", [](const SlabRow& row) { return row.info.requested_bytes; });
  out.gauge("cachee_slab_age_seconds", "How long ago the count of the size classes began.",
            static_cast<double>(mono_ns() - census.since) / 1e9);
  out.gauge("cachee_slab_sampled", "1 when the count took a part of the pages of some size class for all.", census.sampled ? 1 : 0);
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
  each("cachee_trigger_spooled", "Of them in the backlog on disk.", MetricType::Gauge, &TriggerAccount::spooled);
  each("cachee_trigger_dead_letters", "Of them given up.", MetricType::Gauge, &TriggerAccount::dead);
  each("cachee_trigger_shed_total", "Of them dropped, as ON_FULL SHED asks for.", MetricType::Counter, &TriggerAccount::shed);
}

void add_runs(TriggerAdmin& triggers, Families& out) {
  const auto rows = triggers.trigger_runs();
  if (!rows) return;
  const auto label_of = [](const TriggerRuns& row) {
    ClientMetric::Label label;
    label.name = "trigger";
    label.value = row.name;
    return std::vector{std::move(label)};
  };
  const auto counter = [&](const char* name, const char* help, auto&& value_of) {
    for (const TriggerRuns& row : *rows) out.labelled(name, help, MetricType::Counter, value_of(row), label_of(row));
  };
  const auto histogram = [&](const char* name, const char* help, Histogram TriggerRuns::*values, double unit, std::span<const double> bounds) {
    for (const TriggerRuns& row : *rows) out.histogram(name, help, row.*values, unit, bounds, label_of(row));
  };
  counter("cachee_trigger_fired_total", "Runs of its handler, each attempt one.", [](const TriggerRuns& row) { return row.ok + row.failed; });
  counter("cachee_trigger_ok_total", "Of them successful.", [](const TriggerRuns& row) { return row.ok; });
  counter("cachee_trigger_errors_total", "Of them failed.", [](const TriggerRuns& row) { return row.failed; });
  counter("cachee_trigger_retries_total", "Of the failed ones, to be tried again.", [](const TriggerRuns& row) { return row.retried; });
  counter("cachee_trigger_given_up_total", "Of the failed ones, given up.", [](const TriggerRuns& row) { return row.dead; });
  histogram("cachee_trigger_run_seconds", "How long its handler ran.", &TriggerRuns::run_ns, 1e9, kRunBounds);
  histogram("cachee_trigger_lag_seconds", "From what happened to the start of the run.", &TriggerRuns::lag_us, 1e6, kRunBounds);
  histogram("cachee_trigger_run_instructions", "VM instructions of each run.", &TriggerRuns::steps, 1, kStepsBounds);
  histogram("cachee_trigger_run_memory_bytes", "The most memory that each run held.", &TriggerRuns::memory_bytes, 1, kMemoryBounds);
  for (const TriggerRuns& row : *rows) {
    out.labelled("cachee_trigger_memory_peak_bytes", "The most memory that any run held.", MetricType::Gauge, row.memory_bytes.max(), label_of(row));
  }
  for (const TriggerRuns& row : *rows) {
    for (const auto& [metric, sum] : row.metrics) {
      auto labels = label_of(row);
      labels.emplace_back().name = "name";
      labels.back().value = metric;
      out.labelled("cachee_trigger_metric", "Sum of what its handler counted with cachee.metric.", MetricType::Gauge, sum, std::move(labels));
    }
  }
}

void add_outbox(const SenderCounters& sender, Families& out) {
  const auto number = [](std::uint64_t n) { return static_cast<double>(n); };
  out.gauge("cachee_outbox_rows", "Webhooks and fetches that are owed.", number(sender.rows));
  out.gauge("cachee_outbox_overdue_seconds", "How long the one that waits longest could have been sent already.", number(sender.overdue_ms) / 1e3);
  out.gauge("cachee_outbox_in_flight", "Requests under way.", number(sender.in_flight));
  out.counter("cachee_outbox_sent_total", "Webhooks that were answered with 2xx.", sender.sent);
  out.counter("cachee_outbox_warmed_total", "Fetched bodies that are in the cache.", sender.warmed);
  out.counter("cachee_outbox_retried_total", "Attempts that failed and will be repeated.", sender.retried);
  out.counter("cachee_outbox_given_up_total", "Requests that became dead letters.", sender.dead);
  out.counter("cachee_outbox_store_failures_total", "Results that the store did not take at once.", sender.store_failures);
  out.histogram("cachee_outbox_request_seconds", "How long each attempt took.", sender.request_us, 1e6, kRequestBounds, {});
  out.histogram("cachee_outbox_delivery_seconds", "From the event's acknowledgement to the 2xx, retries included.",
                sender.delivery_ms, 1e3, kDeliveryBounds, {});
}

void add_upkeep(const std::vector<Runner::Figures>& parts, Families& out) {
  const auto label_of = [](const Runner::Figures& part) {
    ClientMetric::Label label;
    label.name = "part";
    label.value = part.name;
    return std::vector{std::move(label)};
  };
  for (const Runner::Figures& part : parts) {
    out.labelled("cachee_upkeep_work_total", "What the part of the upkeep did: keys, looks at reads, clients, rounds.", MetricType::Counter, part.work, label_of(part));
  }
  for (const Runner::Figures& part : parts) {
    out.labelled("cachee_upkeep_longest_seconds", "The longest step of the part since the start.", MetricType::Gauge,
                 static_cast<double>(part.longest_ns) / 1e9, label_of(part));
  }
}

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(MetricsSources sources) : sources_{std::move(sources)} {}
  std::vector<MetricFamily> Collect() const override {
    Families out;
    add_segment(sources_.cache, out);
    add_slabs(sources_.slabs(), out);
    add_triggers(sources_.triggers, out);
    add_runs(sources_.triggers, out);
    add_outbox(sources_.sender(), out);
    add_upkeep(sources_.upkeep(), out);
    return out.take();
  }

 private:
  MetricsSources sources_;
};

class PrometheusExporter final : public MetricsExporter {
 public:
  PrometheusExporter(const std::string& address, MetricsSources sources)
      : collector_{std::make_shared<Collector>(std::move(sources))}, exposer_{address, 1} {
    exposer_.RegisterCollectable(collector_);
  }

 private:
  std::shared_ptr<Collector> collector_;
  prometheus::Exposer exposer_;
};

}  // namespace

Outcome<std::unique_ptr<MetricsExporter>> MetricsExporter::start(const ListenAddress& address, MetricsSources sources) {
  const std::string text = format_address(address);
  try {
    return std::unique_ptr<MetricsExporter>{std::make_unique<PrometheusExporter>(text, std::move(sources))};
  } catch (const std::exception& error) {
    return Failure{Errc::io, fmt::format("--metrics {}: {}; is the port taken?", text, error.what())};
  }
}

}  // namespace cachee::daemon
