// Events handled by one executor, for callgrind to count: bench/count.py runs it and divides.
//
//   cachee_bench_count_handlers handler|handler_metadata|handler_log OPERATIONS
//
// The whole of an executor's work on an event, from the ring to the report, in this process.
#include <unistd.h>

#include "count/counted.hpp"
#include "executor/loop.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

using daemon::Channel;
using daemon::ExecutorLoop;
using daemon::ExecutorOptions;

constexpr std::size_t kOutboxBytes = std::size_t{64} << 20;  // every report fits
constexpr std::size_t kInboxBytes = 4096;

struct Operation {
  const char* name;
  const char* source;
};
// What bench/events measures the time of.
constexpr Operation kOperations[] = {
    {"handler", "local k, v = event.key, event.value"},
    {"handler_metadata",
     "local k, v, m = event.key, event.value, event.metadata\nif m.user == m.region then cachee.log('equal', {key = k}) end"},
    {"handler_log", "cachee.log('audit', {key = event.key})"}};

// Counted is a function of this name, with what it calls.
[[gnu::noinline]] void counted_handlers(ExecutorLoop& loop) {
  while (loop.step()) {
  }
}

template <class T>
T made(daemon::Outcome<T> outcome, const char* what) {
  if (!outcome) die(std::string{what} + ": " + outcome.failure().text);
  return std::move(*outcome);
}

void write_events(Cache& cache, std::size_t count) {
  const SetOptions options{.metadata = {{"user", "17"}, {"region", "eu"}}};
  for (std::uint64_t n = 0; n < count; ++n) {
    const Key key = make_key(n);
    const ValueBytes value = make_value(key, n);
    static_cast<void>(must(cache.set(view(key), {value.data(), value.size()}, options), "set"));
  }
}

void run(Maintainer& owner, const std::string& segment, const Operation& operation, std::size_t count) {
  TriggerTable table;
  table.triggers.push_back(
      {.name = operation.name, .pattern = "*", .events = event_bit(EventKind::write), .source = operation.source});
  must(owner.publish_triggers(table, std::chrono::seconds{1}), "triggers");
  Cache writer = must(Cache::open({.name = segment}), "attach");
  write_events(writer, count);
  Cache reader = must(Cache::open({.name = segment, .access = Access::read_only}), "attach");
  Lane lane = must(Lane::open(reader, 0), "lane");
  auto outbox = made(Channel::create(kOutboxBytes), "outbox");
  auto supervisors_end = made(Channel::map(dup(outbox->fd())), "outbox");
  ExecutorLoop loop{ExecutorOptions{.segment = segment}, std::move(reader), std::move(lane),
                    made(Channel::create(kInboxBytes), "inbox"), std::move(outbox)};
  counted_handlers(loop);
  std::size_t handled = 0;
  while (const auto message = supervisors_end->read()) {
    const auto report = daemon::decode_report(*message);
    if (!report || report->status != daemon::RunStatus::ok) die("a handler failed");
    ++handled;
  }
  if (handled != count) die("handled " + std::to_string(handled) + " of " + std::to_string(count));
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::count_operation(argc, argv, cachee::bench::kOperations, cachee::bench::run); }
