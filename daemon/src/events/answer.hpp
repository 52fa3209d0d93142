// What other threads ask the dispatcher's: waiting for its answer, with an end.
#pragma once

#include <chrono>
#include <future>
#include <optional>

#include "core/outcome.hpp"

namespace cachee::daemon {

/// None when the time is over, or when the dispatcher stopped and threw the question away: the promise
/// must have no owner besides it.
template <class Answer>
std::optional<Answer> answer_within(std::future<Answer>& answer, std::chrono::milliseconds patience) {
  if (answer.wait_for(patience) != std::future_status::ready) return std::nullopt;
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return std::nullopt;
  }
}

[[nodiscard]] inline Failure no_answer() {
  return {Errc::no_supervisor, "the dispatcher does not answer: look at cacheed's log"};
}

}  // namespace cachee::daemon
