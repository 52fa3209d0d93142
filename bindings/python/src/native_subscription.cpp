#include "native_subscription.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "group_event.hpp"

namespace cachee::python {

namespace py = pybind11;

namespace {

using std::chrono::milliseconds;

// Of one wait: how long an acknowledgement by another thread, close() and Ctrl-C may be held up. It
// doubles while nobody else wants the connection, so that an idle subscription costs little.
constexpr milliseconds kSliceMin{2};
constexpr milliseconds kSliceMax{100};

/// Counts under the GIL.
class InCall {
 public:
  explicit InCall(int& calls) noexcept : calls_{calls} { ++calls_; }
  ~InCall() { --calls_; }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;

 private:
  int& calls_;
};

}  // namespace

void Turns::enter() noexcept {
  const std::uint32_t mine = next_++;
  for (std::uint32_t now = serving_; now != mine; now = serving_) serving_.wait(now);
}

void Turns::leave() noexcept {
  ++serving_;
  serving_.notify_all();
}

NativeSubscription::NativeSubscription(Subscription subscription, std::string segment,
                                       std::string group)
    : subscription_{std::move(subscription)},
      slice_{kSliceMin},
      segment_{std::move(segment)},
      group_{std::move(group)},
      pid_{getpid()} {}

void NativeSubscription::fail(Error error, std::string said) const {
  Failure failure{error, segment_};
  failure.set_group(group_, std::move(said));
  throw failure;
}

/// Runs `operation(Subscription&)`, a Result, in its turn and without the GIL.
template <class Operation>
auto NativeSubscription::call(Operation&& operation) {
  // Before anything that threads of the parent may have held when it forked.
  if (closed_ || getpid() != pid_) fail({Errc::closed, 0, 0}, {});
  using Outcome = std::invoke_result_t<Operation, Subscription&>;
  std::string said;
  const InCall in_call{calls_};
  Outcome outcome = [&]() -> Outcome {
    const py::gil_scoped_release release_gil;
    const Turns::Turn turn{turns_};
    Outcome done = subscription_ ? operation(*subscription_) : Outcome{Errc::closed};
    if (!done && subscription_) said = subscription_->last_error_text();
    return done;
  }();
  if (!outcome) fail(outcome.error(), std::move(said));
  if constexpr (!std::is_void_v<typename Outcome::value_type>) return std::move(*outcome);
}

void NativeSubscription::close() {
  stop();
  if (getpid() != pid_) {
    subscription_.reset();  // gives back this process's copy of the connection, no more
    return;
  }
  const InCall in_call{calls_};
  const py::gil_scoped_release release_gil;
  const Turns::Turn turn{turns_};
  subscription_.reset();
}

void NativeSubscription::read(const py::object& queue, milliseconds patience,
                              std::size_t count_max) {
  std::chrono::duration<double> asked{};
  const auto events = call([&](Subscription& subscription) {
    asked = std::chrono::steady_clock::now().time_since_epoch();
    if (patience <= milliseconds{0}) return subscription.poll(count_max);
    auto taken = subscription.wait(std::min(patience, slice_), count_max);
    const bool acks_to_come = taken && !taken->empty();
    slice_ = turns_.is_contended() || acks_to_come ? kSliceMin : std::min(slice_ * 2, kSliceMax);
    return taken;
  });
  const py::object append = queue.attr("append");
  for (const GroupEvent& event : events) append(py::make_tuple(asked.count(), to_dict(event)));
}

void NativeSubscription::ack(const std::vector<std::string>& ids) {
  std::vector<GroupEvent> events(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) events[i].id = ids[i];
  call([&](Subscription& subscription) { return subscription.ack(events); });
}

void NativeSubscription::nack(const std::string& id, std::optional<milliseconds> delay,
                              std::string error) {
  const NackOptions options{.delay = delay, .error = std::move(error)};
  call([&](Subscription& subscription) { return subscription.nack(id, options); });
}

std::uint64_t NativeSubscription::lag() {
  return call([](Subscription& subscription) { return subscription.lag(); });
}

}  // namespace cachee::python
