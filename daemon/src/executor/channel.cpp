#include "executor/channel.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::daemon {

struct Channel::Shared {
  alignas(64) std::atomic<std::uint64_t> written;  // by the producer
  alignas(64) std::atomic<std::uint64_t> taken;    // by the consumer
  alignas(64) std::atomic<std::uint32_t> bell;     // futex: something was written, or wake()
  std::atomic<std::uint32_t> sleeping;             // the consumer sleeps or is about to
};

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a hidden lock would not be shared");
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::chrono::microseconds kRoomWait{50};

Failure os_failure(const char* what) { return {Errc::io, std::string{what} + ": " + std::strerror(errno)}; }

}  // namespace

Outcome<std::unique_ptr<Channel>> Channel::create(std::size_t ring_bytes) {
  const std::size_t bytes = std::bit_ceil(std::max<std::size_t>(ring_bytes, 4096));
  const int fd = memfd_create("cachee-channel", MFD_CLOEXEC);
  if (fd < 0) return os_failure("memfd_create");
  if (ftruncate(fd, static_cast<off_t>(kHeaderBytes + bytes)) != 0) {
    const Failure failure = os_failure("ftruncate of a channel");
    close(fd);
    return failure;
  }
  return map(fd);
}

Outcome<std::unique_ptr<Channel>> Channel::map(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return os_failure("fstat of a channel");
  const auto mapped = static_cast<std::size_t>(info.st_size);
  if (mapped <= kHeaderBytes || !std::has_single_bit(mapped - kHeaderBytes)) return Failure{Errc::corrupt, "a channel of an odd size"};
  void* const at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return os_failure("mmap of a channel");
  // Zeroed memory is the right start for every member.
  return std::unique_ptr<Channel>{new Channel{fd, std::launder(reinterpret_cast<Shared*>(at)), mapped, mapped - kHeaderBytes}};
}

Channel::~Channel() {
  munmap(shared_, mapped_bytes_);
  close(fd_);
}

char* Channel::ring() const noexcept { return reinterpret_cast<char*>(shared_) + kHeaderBytes; }

std::size_t Channel::room() noexcept {
  const std::uint64_t used = own_ - shared_->taken.load();
  if (used > ring_bytes_) broken_ = true;
  return broken_ ? 0 : ring_bytes_ - used;
}

std::size_t Channel::filled() noexcept {
  const std::uint64_t bytes = shared_->written.load() - own_;
  if (bytes > ring_bytes_) broken_ = true;
  return broken_ ? 0 : bytes;
}

void Channel::put(std::string_view bytes) noexcept {
  const std::size_t at = own_ & (ring_bytes_ - 1);
  const std::size_t first = std::min(bytes.size(), ring_bytes_ - at);
  std::memcpy(ring() + at, bytes.data(), first);
  std::memcpy(ring(), bytes.data() + first, bytes.size() - first);
  own_ += bytes.size();
}

void Channel::take(char* out, std::size_t bytes) noexcept {
  const std::size_t at = own_ & (ring_bytes_ - 1);
  const std::size_t first = std::min(bytes, ring_bytes_ - at);
  std::memcpy(out, ring() + at, first);
  std::memcpy(out + first, ring(), bytes - first);
  own_ += bytes;
}

/// The bytes are the consumer's from here; wakes it if it sleeps.
void Channel::publish() noexcept {
  shared_->written.store(own_);
  if (shared_->sleeping.load() != 0) wake();
}

void Channel::wake() {
  shared_->bell.fetch_add(1);
  syscall(SYS_futex, &shared_->bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool Channel::try_write(std::string_view message) {
  const auto bytes = static_cast<std::uint32_t>(message.size());
  if (message.size() > kMessageBytesMax || room() < sizeof bytes + message.size()) return false;
  put({reinterpret_cast<const char*>(&bytes), sizeof bytes});
  put(message);
  publish();
  return true;
}

bool Channel::write(std::string_view message, const std::function<bool()>& keep_going) {
  if (message.size() > kMessageBytesMax) return false;
  const auto bytes = static_cast<std::uint32_t>(message.size());
  const auto send = [&](std::string_view part) {
    while (!part.empty()) {
      const std::size_t now = std::min(room(), part.size());
      if (now > 0) {
        put(part.substr(0, now));
        part.remove_prefix(now);
        publish();
        continue;
      }
      if (broken_ || !keep_going()) return false;
      usleep(static_cast<useconds_t>(kRoomWait.count()));
    }
    return true;
  };
  if (try_write(message)) return true;
  return send({reinterpret_cast<const char*>(&bytes), sizeof bytes}) && send(message);
}

std::optional<std::string_view> Channel::read() {
  if (broken_) return std::nullopt;
  if (!expected_) {
    std::uint32_t bytes = 0;
    if (filled() < sizeof bytes) return std::nullopt;
    take(reinterpret_cast<char*>(&bytes), sizeof bytes);
    if (bytes > kMessageBytesMax) {
      broken_ = true;
      return std::nullopt;
    }
    expected_ = bytes;
    message_.clear();
  }
  // Grows with what arrives, not with what was announced.
  while (message_.size() < *expected_) {
    const std::size_t now = std::min(filled(), *expected_ - message_.size());
    if (now == 0) {
      shared_->taken.store(own_);
      return std::nullopt;
    }
    const std::size_t old = message_.size();
    message_.resize(old + now);
    take(message_.data() + old, now);
  }
  shared_->taken.store(own_);
  expected_.reset();
  return message_;
}

void Channel::wait(std::chrono::microseconds longest) {
  const std::uint32_t seen = shared_->bell.load();
  shared_->sleeping.store(1);
  // The producer publishes, then looks at `sleeping`; we the other way round.
  if (filled() == 0 && !broken_) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest);
    const timespec limit{static_cast<time_t>(seconds.count()), static_cast<long>(std::chrono::nanoseconds{longest - seconds}.count())};
    syscall(SYS_futex, &shared_->bell, FUTEX_WAIT, seen, &limit, nullptr, 0);
  }
  shared_->sleeping.store(0);
}

}  // namespace cachee::daemon
