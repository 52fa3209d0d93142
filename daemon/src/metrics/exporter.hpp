// Prometheus metrics over HTTP (`--metrics 127.0.0.1:PORT`, path /metrics). Names, units and when to
// worry: daemon/doc/metrics.md.
//
// Figures are read when they are asked for; nothing is counted twice. A scrape asks the dispatcher
// for the accounts and so may take as long as one of its rounds. The length of the outbox is as the
// sender last looked, a second ago at most; the size classes are as the upkeep last counted them.
//
// Threads: start and destruction on one thread; scrapes come on the HTTP server's.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <cachee/cache.hpp>
#include <cachee/maintain.hpp>

#include "control/admin.hpp"
#include "core/address.hpp"
#include "core/outcome.hpp"
#include "core/runner.hpp"
#include "core/sender_counters.hpp"

namespace cachee::daemon {

struct MetricsSources {
  Cache cache;             // a handle of the exporter's own
  TriggerAdmin& triggers;  // outlives it
  std::function<SenderCounters()> sender;
  std::function<std::vector<Runner::Figures>()> upkeep;
  std::function<SlabCensus()> slabs;
};

class MetricsExporter {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<MetricsExporter>> start(const ListenAddress& address, MetricsSources sources);
  virtual ~MetricsExporter() = default;
};

}  // namespace cachee::daemon
