// Goal: the store -> load pairs that the protocols stand on hold on this machine, by the primitives of mem/shared.hpp.
// Method: two threads meet at a barrier for each round and do the two sides of a pair; the outcome that the protocol
// excludes is counted. The pair without its fence must be seen to fail, or the harness could not see a reordering.
// (Spin knows one order of everything, so these are what it cannot check. x86 reorders a store with a later load and
// nothing else: that the acquires and releases are right is shown by genmc/, with its recorded results.)
#include <gtest/gtest.h>

#include <thread>

#include "mem/backoff.hpp"
#include "mem/shared.hpp"

namespace cachee::test {
namespace {

using mem::Word;

constexpr std::uint64_t kRoundsMax = 300'000;
constexpr std::uint64_t kFenceLessRoundsMax = 20'000'000;  // until the first violation

/// Words of one round, each on a line of its own. A round's words start as zero: rounds count up instead of resetting.
struct alignas(64) Line {
  Word word{};
};
struct Words {
  Line x, y, z, seen_left, seen_right, left_ready, right_ready, left_done, right_done;
};

void meet(Word& mine, Word& other, std::uint64_t round) {
  mine.store_seq_cst(round);
  for (int spins = 0; other.load_acquire() < round; ++spins) {
    if (spins > 1000) {
      sched_yield();  // one core may be all there is
    } else {
      mem::cpu_relax();
    }
  }
}

/// Runs `left` and `right` against each other; counts the rounds in which `broken` says so.
template <class Left, class Right, class Broken>
std::uint64_t count_broken(std::uint64_t rounds_max, bool until_first, Left&& left, Right&& right, Broken&& broken) {
  Words w;
  std::uint64_t count = 0;
  Word stop{};
  std::thread other([&] {
    for (std::uint64_t round = 1; round <= rounds_max; ++round) {
      meet(w.right_ready.word, w.left_ready.word, round);
      right(w, round);
      meet(w.right_done.word, w.left_done.word, round);
      if (stop.load_acquire() != 0) return;
    }
  });
  for (std::uint64_t round = 1; round <= rounds_max; ++round) {
    meet(w.left_ready.word, w.right_ready.word, round);
    left(w, round);
    // Before the barrier of the end, so that the other side sees `stop` of this round.
    for (int spins = 0; w.right_done.word.load_acquire() < round; ++spins) {
      if (spins > 1000) sched_yield();
    }
    if (broken(w, round)) ++count;
    if (until_first && count > 0) stop.store_release(1);
    w.left_done.word.store_seq_cst(round);
    if (stop.load_acquire() != 0) break;
  }
  other.join();
  return count;
}

// Both sides store, then look at the other's word: not both may miss (H2 with Q2, A1 with D2, W2 with S1).
const auto both_missed = [](const Words& w, std::uint64_t round) {
  return w.seen_left.word.load_relaxed() != round && w.seen_right.word.load_relaxed() != round;
};

TEST(Litmus, WithoutAFenceAHazardIsMissed) {
  const auto broken = count_broken(
      kFenceLessRoundsMax, true,
      [](Words& w, std::uint64_t round) {
        w.x.word.store_release(round);  // H1, no H2
        w.seen_left.word.store_relaxed(w.y.word.load_relaxed());
      },
      [](Words& w, std::uint64_t round) {
        w.y.word.store_release(round);
        w.seen_right.word.store_relaxed(w.x.word.load_relaxed());
      },
      both_missed);
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core reorders nothing";
  EXPECT_GT(broken, 0u) << "this harness sees no reordering: the tests below prove nothing here";
}

TEST(Litmus, AHazardAndItsFenceAreSeenByTheReclaimer) {  // [HP-1]
  EXPECT_EQ(count_broken(
                kRoundsMax, false,
                [](Words& w, std::uint64_t round) {
                  w.x.word.store_release(round);  // H1
                  mem::fence_seq_cst();           // H2
                  w.seen_left.word.store_relaxed(w.y.word.load_seq_cst());  // H3
                },
                [](Words& w, std::uint64_t round) {
                  std::uint64_t seen = round - 1;
                  w.y.word.cas_seq_cst(seen, round);  // out of the slot
                  mem::fence_seq_cst();               // Q2
                  w.seen_right.word.store_relaxed(w.x.word.load_acquire());  // Q3
                },
                both_missed),
            0u);
}

TEST(Litmus, ADrainerSeesTheNameOrTheAllocatorTheDrain) {  // [SL-1]
  EXPECT_EQ(count_broken(
                kRoundsMax, false,
                [](Words& w, std::uint64_t round) {
                  w.x.word.store_seq_cst(round);                            // A1
                  w.seen_left.word.store_relaxed(w.y.word.load_seq_cst());  // A2
                },
                [](Words& w, std::uint64_t round) {
                  std::uint64_t seen = round - 1;
                  w.y.word.cas_seq_cst(seen, round);                         // D1
                  mem::fence_seq_cst();                                      // D2
                  w.seen_right.word.store_relaxed(w.x.word.load_acquire());
                },
                both_missed),
            0u);
}

TEST(Litmus, ASweeperSeesTheRecordOrTheWriterTheRaisedNode) {  // [EX-1]
  EXPECT_EQ(count_broken(
                kRoundsMax, false,
                [](Words& w, std::uint64_t round) {
                  std::uint64_t seen = round - 1;
                  w.x.word.cas_seq_cst(seen, round);                        // W2
                  w.seen_left.word.store_relaxed(w.y.word.load_seq_cst());  // W3
                },
                [](Words& w, std::uint64_t round) {
                  w.y.word.exchange_seq_cst(round);                          // S1
                  w.seen_right.word.store_relaxed(w.x.word.load_seq_cst());  // S2
                },
                both_missed),
            0u);
}

TEST(Litmus, ACopyThatPassesItsChecksIsOfOneInstance) {
  // x: hdr, y and z: two words of the value. The writer claims (a new uid), fills, publishes; the reader copies in
  // between. Before the claim the block holds round - 1 in both words.
  EXPECT_EQ(count_broken(
                kRoundsMax, false,
                [](Words& w, std::uint64_t) {
                  const std::uint64_t hdr = w.x.word.load_acquire();
                  const std::uint64_t first = w.y.word.load_relaxed();
                  const std::uint64_t second = w.z.word.load_relaxed();
                  mem::fence_acquire();
                  const bool whole = w.x.word.load_relaxed() == hdr && (hdr & 1) == 0;
                  w.seen_left.word.store_relaxed(whole && first != second ? 1 : 0);
                },
                [](Words& w, std::uint64_t round) {
                  std::uint64_t seen = w.x.word.load_relaxed();
                  w.x.word.cas_acq_rel(seen, 2 * round + 1);  // A3: PRIV with the new uid
                  mem::fence_release();                       // before A4
                  w.y.word.store_relaxed(round);
                  w.z.word.store_relaxed(round);
                  w.x.word.store_release(2 * round);
                },
                [](const Words& w, std::uint64_t) { return w.seen_left.word.load_relaxed() != 0; }),
            0u);
}

}  // namespace
}  // namespace cachee::test
