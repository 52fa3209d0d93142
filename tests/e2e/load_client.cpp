// A client process for the end-to-end tests: writes without pause and reports every operation that
// returned, one line each, so that a test which kills it knows what had been promised.
//
//   e2e_load_client --name N --prefix P [--keys 16] [--count 0] [--pace-us 0] [--value-bytes 8]
//                   [--ttl-ms 0] [--patience-ms 0] [--cost 0] [--aside 0]
//
//   ok <key> <version> <microseconds>          the write is done
//   err <key> <code> <microseconds>            the write was refused: nothing was applied
//
// count 0: until SIGTERM. A line is written by one write(2) after its operation has returned. With
// --patience-ms a refused write is tried again for that long before it counts as an error. With
// --aside 1 it goes cache-aside: it reads a key chosen at random and writes it if it is not there.
#include <cachee/cachee.hpp>

#include <chrono>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_wanted = 0;
void on_stop(int) { stop_wanted = 1; }

struct Plan {
  std::string name{};
  std::string prefix{};
  long keys = 16;
  long count = 0;
  long pace_us = 0;
  long value_bytes = 8;
  long ttl_ms = 0;
  long patience_ms = 0;
  long cost = 0;
  long aside = 0;
};

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "e2e_load_client: %s\n", text.c_str());
  std::exit(2);
}

Plan read_plan(int argc, char** argv) {
  Plan plan;
  for (int at = 1; at + 1 < argc; at += 2) {
    const std::string_view option = argv[at];
    const char* value = argv[at + 1];
    const long number = std::strtol(value, nullptr, 10);
    if (option == "--name") plan.name = value;
    else if (option == "--prefix") plan.prefix = value;
    else if (option == "--keys") plan.keys = number;
    else if (option == "--count") plan.count = number;
    else if (option == "--pace-us") plan.pace_us = number;
    else if (option == "--value-bytes") plan.value_bytes = number;
    else if (option == "--ttl-ms") plan.ttl_ms = number;
    else if (option == "--patience-ms") plan.patience_ms = number;
    else if (option == "--cost") plan.cost = number;
    else if (option == "--aside") plan.aside = number;
    else die("unknown option " + std::string{option});
  }
  if (plan.name.empty() || plan.prefix.empty() || plan.keys < 1) die("--name, --prefix and --keys are needed");
  return plan;
}

void report(const std::string& line) {
  if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    die(std::strerror(errno));
  }
}

long microseconds_since(Clock::time_point start) {
  return static_cast<long>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
}

}  // namespace

int main(int argc, char** argv) {
  const Plan plan = read_plan(argc, argv);
  std::signal(SIGTERM, on_stop);
  auto cache = cachee::Cache::open({.name = plan.name, .client_name = "load " + plan.prefix});
  if (!cache) die(cachee::to_string(cache.error()));

  cachee::SetOptions options;
  if (plan.ttl_ms > 0) options.ttl = std::chrono::milliseconds{plan.ttl_ms};
  if (plan.cost > 0) options.cost = static_cast<double>(plan.cost);
  std::minstd_rand random;
  for (long n = 0; (plan.count == 0 || n < plan.count) && stop_wanted == 0; ++n) {
    const long at = plan.aside != 0 ? static_cast<long>(random()) : n;
    const std::string key = plan.prefix + std::to_string(at % plan.keys);
    if (plan.aside != 0 && cache->get(key)) continue;
    std::string value = std::to_string(n);
    if (value.size() < static_cast<std::size_t>(plan.value_bytes)) {
      value.resize(static_cast<std::size_t>(plan.value_bytes), '.');
    }
    const auto start = Clock::now();
    auto written = cache->set(key, value, options);
    while (!written && stop_wanted == 0 && microseconds_since(start) < plan.patience_ms * 1000) {
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
      written = cache->set(key, value, options);
    }
    const std::string took = std::to_string(microseconds_since(start));
    if (written) {
      report("ok " + key + " " + std::to_string(written->version) + " " + took + "\n");
    } else if (stop_wanted == 0) {  // stopped while it was refused: nothing was applied, nothing is owed
      report("err " + key + " " + cachee::to_string(written.code()) + " " + took + "\n");
    }
    if (plan.pace_us > 0) std::this_thread::sleep_for(std::chrono::microseconds{plan.pace_us});
  }
  return 0;
}
