#include "control/commands/info.hpp"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <cachee/inspect.hpp>
#include <cachee/version.hpp>
#include <fmt/format.h>

#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kDeadlineSamples = 128;  // keys that are looked at for `expires` and `avg_ttl`

struct Context {
  const ServerState& server;
  SegmentInfo segment;
};

std::string human(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "K", "M", "G", "T"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < std::size(kUnits)) {
    amount /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.2f}{}", amount, kUnits[unit]);
}

void add(std::string& text, std::string_view name, const auto& value) {
  text += fmt::format("{}:{}\r\n", name, value);
}

void server_section(std::string& text, const Context& in) {
  utsname os{};
  uname(&os);
  const auto up = std::chrono::duration_cast<std::chrono::seconds>(
                      std::chrono::steady_clock::now() - in.server.started)
                      .count();
  add(text, "redis_version", kRedisVersion);
  add(text, "redis_mode", "standalone");
  add(text, "cachee_version", kVersion);
  add(text, "os", fmt::format("{} {} {}", os.sysname, os.release, os.machine));
  add(text, "arch_bits", sizeof(void*) * 8);
  add(text, "process_id", getpid());
  add(text, "run_id", in.segment.epoch);
  add(text, "tcp_port", in.server.tcp_port);
  add(text, "server_time_usec", wall_ms_now() * 1000);
  add(text, "uptime_in_seconds", up);
  add(text, "uptime_in_days", up / 86400);
  add(text, "unixsocket", in.server.socket_path);
}

void clients_section(std::string& text, const Context& in) {
  std::size_t input = 0;
  std::size_t output = 0;
  for (const auto& [id, session] : in.server.sessions) {
    input = std::max(input, session->input_bytes);
    output = std::max(output, session->output_bytes);
  }
  add(text, "connected_clients", in.server.sessions.size());
  add(text, "maxclients", in.server.connections_max);
  add(text, "client_recent_max_input_buffer", input);
  add(text, "client_recent_max_output_buffer", output);
  add(text, "blocked_clients", in.server.waiting);
}

void memory_section(std::string& text, const Context& in) {
  add(text, "used_memory", in.segment.used_bytes);
  add(text, "used_memory_human", human(in.segment.used_bytes));
  add(text, "used_memory_dataset", in.segment.used_bytes);
  add(text, "maxmemory", in.segment.data_bytes);
  add(text, "maxmemory_human", human(in.segment.data_bytes));
  add(text, "maxmemory_policy", in.segment.eviction_policy);
  add(text, "total_segment_memory", in.segment.segment_bytes);
  add(text, "mem_allocator", "cachee");
}

void persistence_section(std::string& text, const Context&) {
  add(text, "loading", 0);
  add(text, "rdb_bgsave_in_progress", 0);
  add(text, "aof_enabled", 0);
}

void stats_section(std::string& text, const Context& in) {
  const ClientStats& totals = in.segment.totals;
  add(text, "total_connections_received", in.server.connections_total);
  add(text, "total_commands_processed", in.server.commands_total);
  add(text, "total_net_input_bytes", in.server.input_bytes_total);
  add(text, "total_net_output_bytes", in.server.output_bytes_total);
  add(text, "rejected_connections", in.server.connections_refused);
  add(text, "expired_keys", totals.expired);
  add(text, "evicted_keys", totals.evicted);
  add(text, "keyspace_hits", totals.hits);
  add(text, "keyspace_misses", totals.misses);
}

void replication_section(std::string& text, const Context&) {
  add(text, "role", "master");
  add(text, "connected_slaves", 0);
}

void cpu_section(std::string& text, const Context&) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  add(text, "used_cpu_sys", fmt::format("{}.{:06}", usage.ru_stime.tv_sec, usage.ru_stime.tv_usec));
  add(text, "used_cpu_user", fmt::format("{}.{:06}", usage.ru_utime.tv_sec, usage.ru_utime.tv_usec));
}

void commandstats_section(std::string& text, const Context& in) {
  const auto rows = all_commands();
  for (std::size_t i = 0; i < std::min(rows.size(), in.server.command_stats.size()); ++i) {
    const CommandStats& stats = in.server.command_stats[i];
    if (stats.calls + stats.rejected == 0) continue;
    const double each = stats.calls == 0 ? 0
                                         : static_cast<double>(stats.microseconds) /
                                               static_cast<double>(stats.calls);
    add(text, fmt::format("cmdstat_{}", rows[i].name),
        fmt::format("calls={},usec={},usec_per_call={:.2f},rejected_calls={},failed_calls={}",
                    stats.calls, stats.microseconds, each, stats.rejected, stats.failed));
  }
}

void errorstats_section(std::string& text, const Context& in) {
  for (const auto& [name, count] : in.server.error_stats) {
    add(text, "errorstat_" + name, fmt::format("count={}", count));
  }
}

struct Deadlines {
  std::uint64_t keys = 0;
  std::int64_t ttl_ms_mean = 0;
};

// How many keys have a deadline: nobody counts them, so of many keys some are looked at. Of few, all.
Deadlines look_at_deadlines(const Cache& cache, std::uint64_t keys) {
  std::vector<std::string> sample;
  const bool all = keys <= kDeadlineSamples;
  for (std::uint64_t cursor = 0; all;) {
    const auto step = cache.scan(cursor, kDeadlineSamples, [&sample](KeyView key) { sample.emplace_back(key); });
    if (!step || step->cursor == 0) break;
    cursor = step->cursor;
  }
  while (!all && sample.size() < kDeadlineSamples) {
    auto key = cache.random_key();
    if (!key) break;
    sample.push_back(*std::move(key));
  }
  std::uint64_t seen = 0;
  std::uint64_t with_deadline = 0;
  std::int64_t ttl_ms_sum = 0;
  for (const std::string& key : sample) {
    const auto found = cache.peek(key);
    if (!found) continue;
    ++seen;
    if (!found->ttl) continue;
    ++with_deadline;
    ttl_ms_sum += std::int64_t{found->ttl->count()};
  }
  if (with_deadline == 0) return {};
  return {(keys * with_deadline + seen / 2) / seen, ttl_ms_sum / static_cast<std::int64_t>(with_deadline)};
}

void keyspace_section(std::string& text, const Context& in) {
  if (in.segment.keys > 0) {
    const Deadlines deadlines = look_at_deadlines(in.server.cache, in.segment.keys);
    add(text, "db0", fmt::format("keys={},expires={},avg_ttl={}", in.segment.keys, deadlines.keys, deadlines.ttl_ms_mean));
  }
}

void cachee_section(std::string& text, const Context& in) {
  const SegmentInfo& segment = in.segment;
  add(text, "name", segment.name);
  add(text, "layout", segment.layout);
  add(text, "segment_uptime_ms", segment.uptime_ms);
  add(text, "keys", segment.keys);
  add(text, "buckets", segment.buckets);
  add(text, "overflow_buckets_used", segment.overflow_used);
  add(text, "value_bytes_max", segment.value_bytes_max);
  add(text, "clients", segment.clients);
  add(text, "clients_max", segment.clients_max);
  add(text, "sets", segment.totals.sets);
  add(text, "deletes", segment.totals.deletes);
  add(text, "events", segment.totals.events);
  add(text, "backpressure", segment.totals.backpressure);
  add(text, "ring_capacity", segment.ring.capacity);
  add(text, "ring_depth", segment.ring.tail - segment.ring.head);
  add(text, "ring_head", segment.ring.head);
  add(text, "ring_tail", segment.ring.tail);
  add(text, "triggers", segment.triggers);
  add(text, "trigger_generation", segment.trigger_generation);
  const nlohmann::json stats = in.server.triggers.server_stats();
  if (!stats.is_object()) return;
  for (const auto& [name, value] : stats.items()) {
    add(text, name,
        value.is_string() ? value.get<std::string>()
                          : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

struct Section {
  std::string_view name;
  std::string_view title;
  bool by_default;
  void (*write)(std::string& text, const Context& in);
};

constexpr Section kSections[] = {
    {"server", "Server", true, server_section},
    {"clients", "Clients", true, clients_section},
    {"memory", "Memory", true, memory_section},
    {"persistence", "Persistence", true, persistence_section},
    {"stats", "Stats", true, stats_section},
    {"replication", "Replication", true, replication_section},
    {"cpu", "CPU", true, cpu_section},
    {"commandstats", "Commandstats", false, commandstats_section},
    {"errorstats", "Errorstats", true, errorstats_section},
    {"keyspace", "Keyspace", true, keyspace_section},
    {"cachee", "Cachee", true, cachee_section},
};

bool wanted(const Section& section, Arguments names) {
  if (names.empty()) return section.by_default;
  return std::any_of(names.begin(), names.end(), [&section](std::string_view name) {
    if (equal_ignoring_case(name, "all") || equal_ignoring_case(name, "everything")) return true;
    if (equal_ignoring_case(name, "default")) return section.by_default;
    return equal_ignoring_case(name, section.name);
  });
}

}  // namespace

std::string info_text(const ServerState& server, Arguments sections) {
  // A segment that cannot be read shows as zeros; the other sections still help.
  const auto segment = segment_info(server.cache);
  const Context context{server, segment ? *segment : SegmentInfo{}};
  std::string text;
  for (const Section& section : kSections) {
    if (!wanted(section, sections)) continue;
    if (!text.empty()) text += "\r\n";
    text += fmt::format("# {}\r\n", section.title);
    section.write(text, context);
  }
  return text;
}

}  // namespace cachee::daemon
