// Is there one moment for each call, between its begin and its end, so that a plain map at those
// moments gives what every caller got? (Wing and Gong's search with Lowe's memory of visited
// configurations.) Keys are independent of each other, so a history is of one key.
//
// Use:   const Verdict v = check_linearizable(history, {.evicts = true});
//        EXPECT_EQ(v.answer, Answer::linearizable) << v.why;
//
// The map is Cachee's: versions only grow, a deadline removes a key from some moment at or behind
// it on (never before), eviction may remove a key at any moment, a pending call may be left out.
// Cost: exponential in the number of calls that overlap, linear in the length otherwise.
#pragma once

#include <string>
#include <vector>

#include "linear/history.hpp"

namespace cachee::test {

struct Rules {
  bool evicts = false;           // keys may vanish at any moment
  std::int64_t deadline_unit = 0;  // what deadlines are rounded up to
  std::int64_t clock_slack = 0;  // a deadline may be this much earlier or later than computed
  std::uint64_t steps_max = 50'000'000;
};

enum class Answer : std::uint8_t { linearizable, violation, undecided };

struct Verdict {
  Answer answer = Answer::linearizable;
  std::string why{};  // of a violation: the call that fits nowhere, and the history
  std::uint64_t steps = 0;
};

[[nodiscard]] Verdict check_linearizable(std::vector<Operation> history, const Rules& rules = {});

/// The key at one moment.
struct KeyState {
  bool present = false;
  std::string value{};
  std::uint64_t version = 0;       // 0: written by a call that did not tell
  std::uint64_t floor = 0;         // every version to come is above
  std::int64_t due_from = kNever;  // the deadline is between these; kNever: none
  std::int64_t due_until = kNever;
  friend bool operator==(const KeyState&, const KeyState&) = default;
};

/// All states that a call may leave behind when it happens in `state`; none: it cannot have happened.
[[nodiscard]] std::vector<KeyState> successors(const KeyState& state, const Operation& call, const Rules& rules);

}  // namespace cachee::test
