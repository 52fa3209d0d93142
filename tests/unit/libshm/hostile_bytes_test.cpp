// Goal: whatever the bytes of a segment are, no client, supervisor, fsck or tool touches memory
// outside the mapping, hangs or aborts, and each gets an answer that its call may give.
//
// Method: damages from a seeded generator are written into a small populated segment, which then
// goes through everything (support/hostile_segment.hpp). Mappings stand between guard pages, so that
// a byte outside is a crash. A crash or a hang prints the seed; CACHEE_HOSTILE_SEED and
// CACHEE_HOSTILE_ROUNDS choose others (the long form: rounds of 100000). tests/fuzz/segment_fuzz.cpp
// searches the same space by coverage.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

#include "support/guarded_map.hpp"
#include "support/hostile_segment.hpp"

namespace cachee::test {
namespace {

constexpr unsigned kSecondsPerRound = 20;  // far beyond what the bounds of the library allow
constexpr std::size_t kDecisionBytesMax = 160;

HostileSegment* g_segment = nullptr;
volatile std::uint64_t g_seed = 0;

void last_words(int signal) {
  char text[160];
  const int bytes = std::snprintf(text, sizeof text, "hostile_bytes_test: signal %d at CACHEE_HOSTILE_SEED=%llu\n", signal,
                                  static_cast<unsigned long long>(g_seed));
  static_cast<void>(write(STDERR_FILENO, text, static_cast<std::size_t>(bytes)));
  g_segment->remove();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::uint64_t number_from(const char* variable, std::uint64_t fallback) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

std::vector<std::uint8_t> random_bytes(std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::vector<std::uint8_t> bytes(1 + random() % kDecisionBytesMax);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

std::vector<Damage> damages_of(const HostileSegment& segment, std::uint64_t seed) {
  const auto bytes = random_bytes(seed);
  std::vector<Damage> damages;
  for (Decisions decisions{bytes}; !decisions.empty();) damages.push_back(segment.next_damage(decisions));
  return damages;
}

class HostileBytes : public ::testing::Test {
 protected:
  HostileBytes() {
    g_segment = &segment_;
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, last_words);
  }
  ~HostileBytes() override {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, SIG_DFL);
    g_segment = nullptr;
  }
  HostileSegment segment_;
  const std::uint64_t seed_ = number_from("CACHEE_HOSTILE_SEED", 1);
};

TEST_F(HostileBytes, NeverCrashOrHangAnybody) {
  const std::uint64_t rounds = number_from("CACHEE_HOSTILE_ROUNDS", 700);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    g_seed = seed_ + round;
    segment_.restore();
    for (const Damage& damage : damages_of(segment_, g_seed)) segment_.apply(damage);
    alarm(kSecondsPerRound);
    EXPECT_EQ(segment_.exercise(), "") << "CACHEE_HOSTILE_SEED=" << g_seed;
    alarm(0);
  }
  EXPECT_GT(guarded_maps_made(), rounds) << "the mappings stood between guards";
  // The undamaged segment is sound, so the rounds above exercised a working one.
  segment_.restore();
  auto cache = Cache::open({.name = segment_.name(), .access = Access::read_only});
  ASSERT_TRUE(cache);
  EXPECT_EQ(findings(*cache), "");
  EXPECT_EQ(cache->get("k20")->bytes.size(), 180u);
}

/// A hostile process goes on changing words while they are read: what was checked once and is
/// loaded again may be something else.
TEST_F(HostileBytes, MayChangeWhileTheyAreRead) {
  const std::uint64_t rounds = number_from("CACHEE_HOSTILE_ROUNDS", 150);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    g_seed = seed_ + 1'000'000 + round;
    segment_.restore();
    const auto damages = damages_of(segment_, g_seed);
    std::atomic<bool> stop{false};
    std::thread mutator{[&] {
      while (!stop) {
        for (const Damage& damage : damages) segment_.apply(damage);
        for (const Damage& damage : damages) segment_.undo(damage);
      }
    }};
    alarm(kSecondsPerRound);
    EXPECT_EQ(segment_.exercise(), "") << "CACHEE_HOSTILE_SEED=" << g_seed;
    alarm(0);
    stop = true;
    mutator.join();
  }
}

}  // namespace
}  // namespace cachee::test
