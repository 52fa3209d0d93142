// Random choices of a test: a seed that is printed, and taken from CACHEE_TEST_SEED to repeat a run.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

namespace cachee::test {

inline std::uint64_t print_seed(const char* what) {
  std::uint64_t seed =
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) * 1000003 +
      static_cast<std::uint64_t>(getpid());
  if (const char* text = std::getenv("CACHEE_TEST_SEED")) seed = std::strtoull(text, nullptr, 10);
  std::printf("%s: CACHEE_TEST_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

/// A number from the environment.
inline long number_setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

}  // namespace cachee::test
