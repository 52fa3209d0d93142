#include "os/wait.hpp"

#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::os {

void wait_on(const mem::Shared<std::uint32_t>& word, std::uint32_t seen, std::chrono::nanoseconds timeout) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec limit{static_cast<time_t>(seconds.count()), static_cast<long>((timeout - seconds).count())};
  syscall(SYS_futex, word.address(), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void wake_all(const mem::Shared<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, word.address(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace cachee::os
