// Goal: the store -> load pairs that the protocols stand on hold on this machine, by the primitives of mem/shared.hpp.
// Method: two threads meet at a barrier and run through an array of pairs, each its side; outcomes that the protocol
// excludes are counted. The pair without its fence must be seen to fail, or the harness could not see a reordering.
// (Spin knows one order of everything, so these are what it cannot check. x86 reorders a store with a later load and
// nothing else: that the acquires and releases are right is explored by weak.py.)
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>

#include "mem/backoff.hpp"
#include "mem/shared.hpp"

namespace cachee::test {
namespace {

using mem::Word;
using namespace std::chrono_literals;

constexpr std::size_t kPairs = 512;  // of one round: the barrier costs more than all of them
constexpr std::uint64_t kRoundsMin = 20;
constexpr auto kLookFor = 500ms;
constexpr auto kFenceLessLookFor = 60s;  // until the first violation

/// Words of one pair, each on a line of its own. They start as zero, and rounds count up instead of resetting them.
struct alignas(64) Line {
  Word word{};
};
struct Words {
  Line x, y, z, seen_left, seen_right;
};

/// Binds the calling thread to the nth processor that the process may use; whatever it was bound to
/// comes back at the end. Two threads on one processor take turns, and reorder nothing.
class Bound {
 public:
  explicit Bound(int nth) {
    CPU_ZERO(&before_);
    pthread_getaffinity_np(pthread_self(), sizeof before_, &before_);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &before_) || nth-- > 0) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      pthread_setaffinity_np(pthread_self(), sizeof one, &one);
      return;
    }
  }
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;
  ~Bound() { pthread_setaffinity_np(pthread_self(), sizeof before_, &before_); }

 private:
  cpu_set_t before_;
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

/// Runs `left` and `right` against each other for a while; counts the pairs that are `broken` afterwards.
template <class Left, class Right, class Broken>
std::uint64_t count_broken(std::chrono::milliseconds look_for, bool until_first, Left&& left, Right&& right,
                           Broken&& broken) {
  const auto until = std::chrono::steady_clock::now() + look_for;
  std::vector<Words> pairs(kPairs);
  Line left_ready, right_ready, left_done, right_done, last_round;
  last_round.word.store_relaxed(~std::uint64_t{0});
  std::uint64_t count = 0;
  std::thread other([&] {
    const Bound second{1};
    for (std::uint64_t round = 1; round <= last_round.word.load_acquire(); ++round) {
      meet(right_ready.word, left_ready.word, round);
      // One side starts later by another while each time: in some rounds both are at the same pair.
      for (std::uint64_t wait = round * 0x9e3779b9u % 256; wait > 0; --wait) mem::cpu_relax();
      for (Words& w : pairs) right(w, round);
      meet(right_done.word, left_done.word, round);
    }
  });
  const Bound first{0};
  for (std::uint64_t round = 1;; ++round) {
    meet(left_ready.word, right_ready.word, round);
    for (Words& w : pairs) left(w, round);
    while (right_done.word.load_acquire() < round) sched_yield();
    for (const Words& w : pairs) count += broken(w, round) ? 1 : 0;
    const bool enough = (until_first && count > 0) || std::chrono::steady_clock::now() >= until;
    if (enough && round >= kRoundsMin) last_round.word.store_release(round);
    left_done.word.store_seq_cst(round);
    if (last_round.word.load_acquire() == round) break;
  }
  other.join();
  return count;
}

// Both sides store, then look at the other's word: not both may miss (H2 with Q2, A1 with D2, W2 with S1).
const auto both_missed = [](const Words& w, std::uint64_t round) {
  return w.seen_left.word.load_relaxed() != round && w.seen_right.word.load_relaxed() != round;
};

TEST(Litmus, WithoutAFenceAHazardIsMissed) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core reorders nothing";
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer stands around every access, and nothing is reordered";
#endif
  const auto broken = count_broken(
      kFenceLessLookFor, true,
      [](Words& w, std::uint64_t round) {
        w.x.word.store_release(round);  // H1, no H2
        w.seen_left.word.store_relaxed(w.y.word.load_relaxed());
      },
      [](Words& w, std::uint64_t round) {
        w.y.word.store_release(round);
        w.seen_right.word.store_relaxed(w.x.word.load_relaxed());
      },
      both_missed);
  EXPECT_GT(broken, 0u) << "this harness sees no reordering: the tests below prove nothing here";
}

TEST(Litmus, AHazardAndItsFenceAreSeenByTheReclaimer) {  // [HP-1]
  EXPECT_EQ(count_broken(
                kLookFor, false,
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
                kLookFor, false,
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
                kLookFor, false,
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
                kLookFor, false,
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
