// Prometheus metrics over HTTP (`--metrics 127.0.0.1:PORT`, path /metrics). Names, units and when to
// worry: daemon/doc/metrics.md.
//
// Figures are read when they are asked for; nothing is counted twice. A scrape asks the dispatcher
// for the accounts and so may take as long as one of its rounds.
//
// Threads: start and destruction on one thread; scrapes come on the HTTP server's.
#pragma once

#include <memory>

#include <cachee/cache.hpp>

#include "control/admin.hpp"
#include "core/address.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

class MetricsExporter {
 public:
  /// `cache` is the exporter's own handle; `triggers` must outlive it.
  [[nodiscard]] static Outcome<std::unique_ptr<MetricsExporter>> start(const ListenAddress& address, Cache cache,
                                                                       TriggerAdmin& triggers);
  virtual ~MetricsExporter() = default;
};

}  // namespace cachee::daemon
