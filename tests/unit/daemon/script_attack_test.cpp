// Goal: no script gets past its limits, and none leaves anything behind.
// Method: every file of attacks/ says in its head how it must end. It runs three times in one
// runtime; each run must end so, within twice its time limit of processor time, and a plain script
// must work afterwards. What only the supervisor can stop is tried in executor_test.cpp.
#include <gtest/gtest.h>

#include "unit/daemon/attack_corpus.hpp"
#include "unit/daemon/script_support.hpp"

namespace cachee::daemon::test {
namespace {

using attacks::Attack;
using attacks::kPlentyOfTimeMs;
using attacks::read_attacks;

std::string ending(const RunResult& result) {
  switch (result.exceeded) {
    case Limit::steps:
      return "steps";
    case Limit::memory:
      return "memory";
    case Limit::time:
      return "time";
    case Limit::none:
      break;
  }
  return result.ok ? "ok" : "error";
}

class Attacks : public testing::TestWithParam<Attack> {};

TEST_P(Attacks, EndsWithinItsLimitsAndLeavesNothing) {
  const Attack& attack = GetParam();
  ASSERT_FALSE(attack.ends.empty()) << "the file does not say how it ends";
  ScriptWorld world;
  // A busy machine must not turn what ends by itself into a timeout.
  if (!attack.hits_a_limit()) world.limits.timeout_ms = kPlentyOfTimeMs;
  const auto script = world.load(attack.source);
  ASSERT_TRUE(script) << world.load_error;
  const auto plain = world.load(
      "assert(string.rep('x', 3):upper() == 'XXX')\n"
      "assert(event.metadata.user == '42' and poisoned == nil)\n"
      "cachee.set('k', event.value)");
  ASSERT_TRUE(plain) << world.load_error;
  for (int turn = 1; turn <= 3; ++turn) {
    const double start = thread_cpu_ms();
    const RunResult result = world.run(*script);
    const double spent = thread_cpu_ms() - start;
    const std::string end = ending(result);
    EXPECT_TRUE(attack.may_end(end))
        << "turn " << turn << " ended with " << end << ": " << result.error << "\n"
        << result.traceback;
    EXPECT_LE(spent, 2.0 * world.limits.timeout_ms) << "turn " << turn << ", ended with " << end;
    EXPECT_LE(result.memory_peak, world.limits.memory_bytes);
    EXPECT_EQ(result.ok, end == "ok");
    if (!result.ok) {
      EXPECT_FALSE(result.error.empty());
      EXPECT_LE(result.error.size(), kErrorBytesMax);
      EXPECT_TRUE(result.effects.empty());
    }
    const RunResult after = world.run(*plain);
    ASSERT_TRUE(after.ok) << after.error;
    ASSERT_EQ(world.effects.size(), 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, Attacks, testing::ValuesIn(read_attacks(CACHEE_ATTACKS_DIR)),
                         [](const auto& attack) { return attack.param.name; });

TEST(AttackCorpus, IsThere) { EXPECT_GE(read_attacks(CACHEE_ATTACKS_DIR).size(), 60U); }

}  // namespace
}  // namespace cachee::daemon::test
