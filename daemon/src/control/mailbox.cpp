#include "control/mailbox.hpp"

#include <utility>

namespace cachee::daemon {

void Mailbox::post(std::uint64_t session_id, Write write) {
  const std::lock_guard lock{mutex_};
  if (!wake_) return;
  letters_.push_back({session_id, std::move(write)});
  // Under the lock: close() says that what `wake` uses may go.
  wake_();
}

std::vector<Mailbox::Letter> Mailbox::take() {
  const std::lock_guard lock{mutex_};
  return std::exchange(letters_, {});
}

void Mailbox::close() {
  const std::lock_guard lock{mutex_};
  wake_ = nullptr;
  letters_.clear();
}

}  // namespace cachee::daemon
