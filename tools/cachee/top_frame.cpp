#include "top_frame.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "command.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr std::array<std::string_view, 9> kEighthsUp{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<std::string_view, 9> kEighthsRight{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
constexpr std::string_view kAsciiUp = " .:-=+*%#";
constexpr std::size_t kGaugeColumns = 24;
constexpr std::size_t kClassesMax = 8;

constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kCyan = "\x1b[36m";
constexpr std::string_view kReset = "\x1b[0m";

double share_of(std::uint64_t part, std::uint64_t whole) noexcept {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string format_rate(double rate) {
  return rate > 0 && rate < 10 ? fmt::format("{:.1f}", rate)
                               : format_count(static_cast<std::uint64_t>(std::llround(rate)));
}

/// A line that is cut at the width of the terminal; colours take no room.
class Line {
 public:
  Line(std::size_t width, bool colour) noexcept : left_{width}, colour_{colour} {}

  Line& add(std::string_view text, std::string_view colour = {}) {
    const bool painted = colour_ && !colour.empty();
    if (painted) out_ += colour;
    for (std::size_t i = 0; i < text.size();) {
      std::size_t next = i + 1;
      while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0U) == 0x80) ++next;
      if (left_ == 0) break;
      --left_;
      out_ += text.substr(i, next - i);
      i = next;
    }
    if (painted) out_ += kReset;
    return *this;
  }

  std::string take() { return std::move(out_); }

 private:
  std::size_t left_;
  bool colour_;
  std::string out_{};
};

class FramePrinter {
 public:
  FramePrinter(const Sample& sample, const std::deque<Rates>& history, const FrameOptions& options)
      : sample_{sample}, info_{sample.info}, history_{history}, options_{options} {}

  std::vector<std::string> take() {
    head();
    gauges();
    blank();
    rates();
    blank();
    classes();
    blank();
    clients();
    if (lines_.size() > options_.rows) lines_.resize(options_.rows);
    return std::move(lines_);
  }

 private:
  Line line() const { return {options_.columns, options_.colour}; }
  void put(Line line) { lines_.push_back(line.take()); }
  void blank() { lines_.emplace_back(); }

  void head() {
    Line first = line();
    first.add("cachee ", kBold).add(info_.name, kBold);
    first.add(
        fmt::format("  up {}  ", format_duration(std::chrono::milliseconds{info_.uptime_ms})));
    if (info_.supervisor_pid != 0) {
      first.add(fmt::format("supervisor {} ", info_.supervisor_pid), kGreen);
      first.add(fmt::format("({} ago)", format_duration(std::chrono::milliseconds{
                                            info_.supervisor_heartbeat_age_ms})));
    } else {
      first.add("no supervisor", kRed);
    }
    first.add(fmt::format("  clients {}/{}  triggers {}", info_.clients, info_.clients_max,
                          info_.triggers));
    put(std::move(first));
  }

  void gauge(std::string_view name, double share, const std::string& text) {
    const std::string_view colour = share > 0.9 ? kRed : share > 0.7 ? kYellow : kGreen;
    Line result = line();
    result.add(fmt::format("{:<7}", name), kCyan).add("[");
    result.add(bar(share, kGaugeColumns, options_.utf8), colour);
    put(std::move(result.add(fmt::format("] {:5.1f}%  {}", share * 100, text))));
  }

  void gauges() {
    gauge("memory", share_of(info_.used_bytes, info_.data_bytes),
          fmt::format("{} of {}  keys {}  {}", format_bytes(info_.used_bytes),
                      format_bytes(info_.data_bytes), format_count(info_.keys),
                      info_.eviction_policy));
    const std::uint64_t depth = info_.ring.tail - info_.ring.head;
    gauge("ring", share_of(depth, info_.ring.capacity),
          fmt::format("{} of {}  lag {}", format_count(depth), format_count(info_.ring.capacity),
                      format_duration(std::chrono::milliseconds{sample_.lag_ms})));
    gauge("hits", hit_percent(info_.totals.hits, info_.totals.misses) / 100,
          fmt::format("{} of {} reads since the start", format_count(info_.totals.hits),
                      format_count(info_.totals.hits + info_.totals.misses)));
    Line cost = line();
    cost.add(fmt::format("{:<7}", "evicted"), kCyan);
    put(std::move(cost.add(
        info_.supervisor_pid != 0
            ? fmt::format("cost {:.6g} in the last minute", info_.evicted_cost_minute)
            : "cost of the last minute unknown")));
  }

  void rates() {
    struct Row {
      const char* name;
      double Rates::*field;
    };
    constexpr std::array<Row, 9> kRows{{{"gets", &Rates::gets},
                                        {"hits", &Rates::hits},
                                        {"misses", &Rates::misses},
                                        {"sets", &Rates::sets},
                                        {"deletes", &Rates::deletes},
                                        {"expired", &Rates::expired},
                                        {"evicted", &Rates::evicted},
                                        {"events", &Rates::events},
                                        {"backpressure", &Rates::backpressure}}};
    put(line().add(fmt::format("{:<13}{:>13}{:>13}  {}", "per second", "now", "highest", "lately"),
                   kBold));
    constexpr std::size_t kTextColumns = 41;
    const std::size_t room = options_.columns > kTextColumns ? options_.columns - kTextColumns : 0;
    for (const auto& row : kRows) {
      std::vector<double> values;
      for (const auto& rate : history_) values.push_back(rate.*row.field);
      const double now = values.empty() ? 0 : values.back();
      const double top = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
      const bool alarm = row.field == &Rates::backpressure && now > 0;
      Line result = line();
      result.add(fmt::format("{:<13}", row.name), kCyan);
      result.add(fmt::format("{:>13}", format_rate(now)), alarm ? kRed : kBold);
      result.add(fmt::format("{:>13}  ", format_rate(top)), kDim);
      put(std::move(result.add(sparkline(values, top, room, options_.utf8), kGreen)));
    }
  }

  void classes() {
    std::vector<SlabClassInfo> used;
    std::uint64_t most = 0;
    for (const auto& slab : sample_.slabs) {
      if (slab.live == 0) continue;
      used.push_back(slab);
      most = std::max(most, slab.live * slab.block_bytes);
    }
    std::sort(used.begin(), used.end(), [](const auto& a, const auto& b) {
      return a.live * a.block_bytes > b.live * b.block_bytes;
    });
    if (used.size() > kClassesMax) used.resize(kClassesMax);
    std::sort(used.begin(), used.end(),
              [](const auto& a, const auto& b) { return a.block_bytes < b.block_bytes; });
    put(line().add("memory by size of record; percent lost inside", kBold));
    constexpr std::size_t kTextColumns = 47;
    const std::size_t room = options_.columns > kTextColumns ? options_.columns - kTextColumns : 1;
    for (const auto& slab : used) {
      const std::uint64_t bytes = slab.live * slab.block_bytes;
      Line result = line();
      result.add(fmt::format("{:>10}", format_bytes(slab.block_bytes)), kCyan);
      result.add(fmt::format("{:>13} {:>12} {:>5.1f}%  ", format_count(slab.live),
                             format_bytes(bytes),
                             fragmentation_percent(bytes, slab.requested_bytes)));
      put(std::move(result.add(bar(share_of(bytes, most), room, options_.utf8), kGreen)));
    }
  }

  void clients() {
    put(line().add(fmt::format("{:<8}{:<16}{:<10}{:<10}{:>13}{:>13}", "pid", "name", "role",
                               "doing", "reads", "writes"),
                   kBold));
    std::vector<const ClientInfo*> order;
    for (const auto& client : sample_.clients) order.push_back(&client);
    const auto busy = [](const ClientInfo& client) {
      return client.stats.hits + client.stats.misses + client.stats.sets + client.stats.deletes;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](const auto* a, const auto* b) { return busy(*a) > busy(*b); });
    for (const auto* client : order) {
      Line result = line();
      result.add(
          fmt::format("{:<8}{:<16.15}{:<10}{:<10}{:>13}{:>13}", client->pid, display(client->name),
                      to_string(client->role), client->alive ? client->operation : "dead",
                      format_count(client->stats.hits + client->stats.misses),
                      format_count(client->stats.sets + client->stats.deletes)),
          client->alive ? std::string_view{} : kRed);
      put(std::move(result));
    }
  }

  const Sample& sample_;
  const SegmentInfo& info_;
  const std::deque<Rates>& history_;
  const FrameOptions& options_;
  std::vector<std::string> lines_{};
};

template <class T>
T require(Result<T> result, const char* what) {
  if (!result) throw Failure{Exit::no, fmt::format("{}: {}", what, to_string(result.error()))};
  return *std::move(result);
}

}  // namespace

Sample take_sample(const Cache& cache) {
  Sample sample;
  sample.info = require(segment_info(cache), "statistics");
  sample.slabs = require(list_slabs(cache), "size classes");
  sample.clients = require(list_clients(cache), "clients");
  const auto oldest = require(list_events(cache, 1), "events");
  sample.at = std::chrono::steady_clock::now();
  if (!oldest.empty()) {
    const std::int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count();
    sample.lag_ms = std::max<std::int64_t>(0, (now_us - oldest.front().timestamp_wall_us) / 1000);
  }
  return sample;
}

Rates rates_between(const Sample& before, const Sample& after) noexcept {
  const double seconds = std::chrono::duration<double>(after.at - before.at).count();
  const auto rate = [&](std::uint64_t ClientStats::*field) {
    const std::uint64_t from = before.info.totals.*field;
    const std::uint64_t to = after.info.totals.*field;
    // Snapshots of running clients are a moment off; a difference below zero means none.
    return seconds > 0 && to > from ? static_cast<double>(to - from) / seconds : 0.0;
  };
  Rates rates;
  rates.hits = rate(&ClientStats::hits);
  rates.misses = rate(&ClientStats::misses);
  rates.gets = rates.hits + rates.misses;
  rates.sets = rate(&ClientStats::sets);
  rates.deletes = rate(&ClientStats::deletes);
  rates.expired = rate(&ClientStats::expired);
  rates.evicted = rate(&ClientStats::evicted);
  rates.events = rate(&ClientStats::events);
  rates.backpressure = rate(&ClientStats::backpressure);
  return rates;
}

double hit_percent(std::uint64_t hits, std::uint64_t misses) noexcept {
  return 100.0 * share_of(hits, hits + misses);
}

double fragmentation_percent(std::uint64_t live_bytes, std::uint64_t requested_bytes) noexcept {
  return live_bytes == 0 ? 0 : 100.0 * (1 - std::min(1.0, share_of(requested_bytes, live_bytes)));
}

Value slabs_value(const std::vector<SlabClassInfo>& slabs) {
  Value rows = Value::list();
  for (const auto& slab : slabs) {
    const std::uint64_t live_bytes = slab.live * slab.block_bytes;
    rows.push(
        Value::object()
            .add("block_bytes", Value::bytes(slab.block_bytes))
            .add("pages", slab.pages)
            .add("blocks", slab.blocks)
            .add("live", slab.live)
            .add("free", slab.free)
            .add("waiting", slab.waiting)
            .add("live_bytes", Value::bytes(live_bytes))
            .add("requested_bytes", Value::bytes(slab.requested_bytes))
            .add("fragmentation_percent",
                 {fragmentation_percent(live_bytes, slab.requested_bytes), Unit::percent})
            .add("used_percent", {100.0 * share_of(live_bytes, slab.page_bytes), Unit::percent}));
  }
  return rows;
}

namespace {

Value memory_value(const Sample& sample) {
  const SegmentInfo& info = sample.info;
  std::uint64_t live_bytes = 0;
  std::uint64_t requested_bytes = 0;
  for (const auto& slab : sample.slabs) {
    live_bytes += slab.live * slab.block_bytes;
    requested_bytes += slab.requested_bytes;
  }
  Value memory = Value::object();
  memory.add("segment_bytes", Value::bytes(info.segment_bytes))
      .add("data_bytes", Value::bytes(info.data_bytes))
      .add("used_bytes", Value::bytes(info.used_bytes))
      .add("used_percent", {100.0 * share_of(info.used_bytes, info.data_bytes), Unit::percent})
      .add("requested_bytes", Value::bytes(requested_bytes))
      .add("fragmentation_percent",
           {fragmentation_percent(live_bytes, requested_bytes), Unit::percent})
      .add("page_bytes", Value::bytes(info.page_bytes))
      .add("pages", info.pages)
      .add("pages_free", info.pages_free)
      .add("value_bytes_max", Value::bytes(info.value_bytes_max))
      .add("eviction_policy", info.eviction_policy);
  return memory;
}

}  // namespace

Value stat_value(const Sample& sample, const Rates& rates) {
  const SegmentInfo& info = sample.info;
  const ClientStats& totals = info.totals;
  const bool supervised = info.supervisor_pid != 0;
  Value index = Value::object();
  index.add("buckets", info.buckets)
      .add("overflow_buckets", info.overflow_buckets)
      .add("overflow_used", info.overflow_used);
  Value operations = Value::object();
  operations.add("hits", totals.hits)
      .add("misses", totals.misses)
      .add("hit_percent", {hit_percent(totals.hits, totals.misses), Unit::percent})
      .add("sets", totals.sets)
      .add("deletes", totals.deletes)
      .add("expired", totals.expired)
      .add("evicted", totals.evicted)
      .add("events", totals.events)
      .add("backpressure", totals.backpressure)
      .add("retries", totals.retries)
      .add("returned", totals.returned)
      .add("waited_for_room", totals.waited_for_room)
      .add("evicted_cost", totals.evicted_cost);
  Value sizing = Value::object();
  const bool estimated = info.miss_ratios[1] > 0;
  const auto miss = [&](std::size_t n) { return estimated ? Value{100.0 * info.miss_ratios[n], Unit::percent} : Value{}; };
  // Without a supervisor nobody moves the minute on.
  sizing.add("evicted_cost_per_minute", supervised ? Value{info.evicted_cost_minute} : Value{})
      .add("miss_percent_half", miss(0))
      .add("miss_percent_now", miss(1))
      .add("miss_percent_double", miss(2))
      .add("miss_percent_fourfold", miss(3));
  Value per_second = Value::object();
  per_second.add("gets", rates.gets)
      .add("sets", rates.sets)
      .add("deletes", rates.deletes)
      .add("expired", rates.expired)
      .add("evicted", rates.evicted)
      .add("events", rates.events);
  Value ring = Value::object();
  ring.add("capacity", info.ring.capacity)
      .add("depth", info.ring.tail - info.ring.head)
      .add("admission_limit", info.ring.admission_limit)
      .add("lag_ms", Value::milliseconds(sample.lag_ms));
  Value value = Value::object();
  value.add("name", info.name)
      .add("layout", info.layout)
      .add("epoch", info.epoch)
      .add("uptime_ms", Value::milliseconds(static_cast<std::int64_t>(info.uptime_ms)))
      .add("supervisor_pid", supervised ? Value{info.supervisor_pid} : Value{})
      .add("supervisor_heartbeat_age_ms",
           supervised
               ? Value::milliseconds(static_cast<std::int64_t>(info.supervisor_heartbeat_age_ms))
               : Value{})
      .add("keys", info.keys)
      .add("clients", info.clients)
      .add("clients_max", info.clients_max)
      .add("triggers", info.triggers)
      .add("trigger_generation", info.trigger_generation)
      .add("memory", memory_value(sample))
      .add("index", std::move(index))
      .add("operations", std::move(operations))
      .add("per_second", std::move(per_second))
      .add("sizing", std::move(sizing))
      .add("ring", std::move(ring));
  return value;
}

std::string sparkline(const std::vector<double>& values, double top, std::size_t width, bool utf8) {
  std::string line;
  const std::size_t first = values.size() > width ? values.size() - width : 0;
  for (std::size_t i = first; i < values.size(); ++i) {
    const double share = top > 0 ? std::clamp(values[i] / top, 0.0, 1.0) : 0;
    auto level = static_cast<std::size_t>(std::ceil(share * 8));
    if (utf8) {
      line += kEighthsUp[level];
    } else {
      line += kAsciiUp[level];
    }
  }
  return line;
}

std::string bar(double share, std::size_t width, bool utf8) {
  const double filled = std::clamp(share, 0.0, 1.0) * static_cast<double>(width);
  auto whole = static_cast<std::size_t>(filled);
  std::string line;
  for (std::size_t i = 0; i < whole; ++i) line += utf8 ? kEighthsRight[8] : std::string_view{"#"};
  if (utf8 && whole < width) {
    const auto eighths = static_cast<std::size_t>((filled - static_cast<double>(whole)) * 8);
    line += kEighthsRight[eighths];
    if (eighths > 0) ++whole;
  }
  line.append(width - whole, ' ');
  return line;
}

std::vector<std::string> render_frame(const Sample& sample, const std::deque<Rates>& history,
                                      const FrameOptions& options) {
  return FramePrinter{sample, history, options}.take();
}

}  // namespace cachee::cli
