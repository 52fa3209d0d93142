#include "executor/channel.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::daemon {

struct Channel::Shared {
  alignas(64) std::atomic<std::uint64_t> written;    // by the producer
  alignas(64) std::atomic<std::uint64_t> taken;      // by the consumer
  alignas(64) std::atomic<std::uint32_t> bell;       // futex: something was written, or wake()
  std::atomic<std::uint32_t> sleeping;               // the consumer sleeps or is about to
  alignas(64) std::atomic<std::uint32_t> room_bell;  // futex: something was taken
  std::atomic<std::uint32_t> wanting;                // the producer sleeps or is about to
};

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a hidden lock would not be shared");
static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "a futex is a plain word");

constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kMessageBytesKept = std::size_t{1} << 20;
constexpr std::chrono::milliseconds kRoomWait{50};  // between two questions whether to go on
using Length = std::uint32_t;

Failure os_failure(const char* what) {
  return {Errc::io, std::string{what} + ": " + std::strerror(errno)};
}

void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t seen,
              std::chrono::nanoseconds longest) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(longest);
  const timespec limit{static_cast<time_t>(seconds.count()),
                       static_cast<long>((longest - seconds).count())};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void ring_bell(std::atomic<std::uint32_t>& word) noexcept {
  word.fetch_add(1);
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

std::string_view bytes_of(const Length& length) noexcept {
  return {reinterpret_cast<const char*>(&length), sizeof(length)};
}

}  // namespace

Outcome<std::unique_ptr<Channel>> Channel::create(std::size_t ring_bytes,
                                                  std::size_t message_bytes_max) {
  const std::size_t bytes = std::bit_ceil(std::max<std::size_t>(ring_bytes, kHeaderBytes));
  const int fd = memfd_create("cachee-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return os_failure("memfd_create");
  if (ftruncate(fd, static_cast<off_t>(kHeaderBytes + bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const Failure failure = os_failure("making a channel");
    close(fd);
    return failure;
  }
  auto channel = map(fd, message_bytes_max);
  if (!channel) close(fd);
  return channel;
}

Outcome<std::unique_ptr<Channel>> Channel::map(int fd, std::size_t message_bytes_max) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return os_failure("fstat of a channel");
  const int seals = fcntl(fd, F_GET_SEALS);
  const auto mapped = static_cast<std::size_t>(info.st_size);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || mapped <= kHeaderBytes ||
      !std::has_single_bit(mapped - kHeaderBytes)) {
    return Failure{Errc::corrupt, "the descriptor is no channel"};
  }
  void* const at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return os_failure("mmap of a channel");
  // Zeroed memory is the right start for every member.
  return std::unique_ptr<Channel>{new Channel{fd, std::launder(reinterpret_cast<Shared*>(at)),
                                              mapped, mapped - kHeaderBytes, message_bytes_max}};
}

Channel::~Channel() {
  munmap(shared_, mapped_bytes_);
  close(fd_);
}

bool Channel::drained() const noexcept { return shared_->written.load() == shared_->taken.load(); }

char* Channel::ring() const noexcept { return reinterpret_cast<char*>(shared_) + kHeaderBytes; }

/// Looks at the other side's position only when the last one leaves less than what is wanted.
std::size_t Channel::room(std::size_t wanted) noexcept {
  if (broken_) return 0;
  if (ring_bytes_ - (own_ - peer_) >= wanted) return ring_bytes_ - (own_ - peer_);
  const std::uint64_t taken = shared_->taken.load();
  if (own_ - taken > ring_bytes_) broken_ = true;
  if (broken_) return 0;
  peer_ = taken;
  return ring_bytes_ - (own_ - peer_);
}

std::size_t Channel::filled(std::size_t wanted) noexcept {
  if (broken_) return 0;
  if (peer_ - own_ >= wanted) return peer_ - own_;
  const std::uint64_t written = shared_->written.load();
  if (written - own_ > ring_bytes_) broken_ = true;
  if (broken_) return 0;
  peer_ = written;
  return peer_ - own_;
}

void Channel::put(std::string_view bytes) noexcept {
  const std::size_t at = own_ & (ring_bytes_ - 1);
  const std::size_t first = std::min(bytes.size(), ring_bytes_ - at);
  std::memcpy(ring() + at, bytes.data(), first);
  if (first < bytes.size()) std::memcpy(ring(), bytes.data() + first, bytes.size() - first);
  own_ += bytes.size();
}

void Channel::take(char* out, std::size_t bytes) noexcept {
  const std::size_t at = own_ & (ring_bytes_ - 1);
  const std::size_t first = std::min(bytes, ring_bytes_ - at);
  std::memcpy(out, ring() + at, first);
  if (first < bytes) std::memcpy(out + first, ring(), bytes - first);
  own_ += bytes;
}

void Channel::publish() noexcept {
  shared_->written.store(own_);                                                     // W2
  if (shared_->sleeping.load() != 0 && shared_->sleeping.exchange(0) != 0) wake();  // W3
}

void Channel::give_room() noexcept {
  shared_->taken.store(own_);
  if (shared_->wanting.load() != 0 && shared_->wanting.exchange(0) != 0) {
    ring_bell(shared_->room_bell);
  }
}

void Channel::wake() { ring_bell(shared_->bell); }

std::size_t Channel::put_some(std::string_view bytes) noexcept {
  const std::size_t now = std::min(room(bytes.size()), bytes.size());
  if (now == 0) return 0;
  put(bytes.substr(0, now));
  publish();
  return now;
}

/// Where the message behind its length goes if both fit without a gap; null: they do not.
char* Channel::reserve(std::size_t message_bytes) noexcept {
  const std::size_t at = own_ & (ring_bytes_ - 1);
  const std::size_t bytes = sizeof(Length) + message_bytes;
  if (message_bytes > kMessageBytesMax || ring_bytes_ - at < bytes || !pending_.empty() || room(bytes) < bytes) return nullptr;
  return ring() + at + sizeof(Length);
}

void Channel::commit(std::size_t message_bytes) noexcept {
  const auto length = static_cast<Length>(message_bytes);
  std::memcpy(ring() + (own_ & (ring_bytes_ - 1)), &length, sizeof length);
  own_ += sizeof length + message_bytes;
  publish();
}

bool Channel::try_write(std::string_view message) {
  const auto length = static_cast<Length>(message.size());
  if (message.size() > kMessageBytesMax || !pending_.empty()) return false;
  const std::size_t bytes = sizeof(length) + message.size();
  if (room(bytes) < bytes) return false;
  put(bytes_of(length));
  put(message);
  publish();
  return true;
}

void Channel::wait_for_room() noexcept {
  const std::uint32_t seen = shared_->room_bell.load();
  shared_->wanting.store(1);
  if (room(1) == 0 && !broken_) sleep_on(shared_->room_bell, seen, kRoomWait);
  shared_->wanting.store(0);
}

bool Channel::put_all(std::string_view bytes, const std::function<bool()>& keep_going) {
  while (!bytes.empty()) {
    const std::size_t now = put_some(bytes);
    bytes.remove_prefix(now);
    if (now > 0) continue;
    if (broken_ || !keep_going()) return false;
    wait_for_room();
  }
  return true;
}

bool Channel::write(std::string_view message, const std::function<bool()>& keep_going) {
  if (message.size() > kMessageBytesMax) return false;
  if (try_write(message)) return true;
  const auto length = static_cast<Length>(message.size());
  if (!put_all(std::string_view{pending_}.substr(pending_done_), keep_going)) return false;
  pending_.clear();
  pending_done_ = 0;
  return put_all(bytes_of(length), keep_going) && put_all(message, keep_going);
}

bool Channel::can_post() {
  if (broken_) return false;
  flush();
  return pending_.size() - pending_done_ <= kPendingBytesMax;
}

bool Channel::post(std::string_view message) {
  if (!can_post() || message.size() > kMessageBytesMax) return false;
  if (try_write(message)) return true;
  const auto length = static_cast<Length>(message.size());
  pending_.append(bytes_of(length)).append(message);
  flush();
  return true;
}

bool Channel::flush() {
  if (pending_.empty()) return true;
  pending_done_ += put_some(std::string_view{pending_}.substr(pending_done_));
  if (pending_done_ < pending_.size()) {
    if (pending_done_ > kPendingBytesMax) {
      pending_.erase(0, pending_done_);
      pending_done_ = 0;
    }
    return false;
  }
  pending_done_ = 0;
  if (pending_.capacity() > kMessageBytesKept) {
    pending_ = {};
  } else {
    pending_.clear();
  }
  return true;
}

std::optional<std::string_view> Channel::read() {
  if (broken_) return std::nullopt;
  if (!expected_) {
    Length length = 0;
    if (filled(sizeof(length)) < sizeof(length)) return std::nullopt;
    take(reinterpret_cast<char*>(&length), sizeof(length));
    if (length > message_bytes_max_) {
      broken_ = true;
      return std::nullopt;
    }
    expected_ = length;
    if (message_.capacity() > kMessageBytesKept) message_ = {};
    message_.clear();
  }
  // Grows with what arrives, not with what was announced.
  while (message_.size() < *expected_) {
    const std::size_t left = *expected_ - message_.size();
    const std::size_t now = std::min(filled(left), left);
    if (now == 0) return std::nullopt;
    const std::size_t old = message_.size();
    message_.resize(old + now);
    take(message_.data() + old, now);
    if (now < left) give_room();
  }
  give_room();
  expected_.reset();
  return message_;
}

void Channel::wait(std::chrono::microseconds longest) {
  const std::uint32_t seen = shared_->bell.load();
  shared_->sleeping.store(1);                                             // R1
  if (filled(1) == 0 && !broken_) sleep_on(shared_->bell, seen, longest);  // R2, R3
  shared_->sleeping.store(0);
}

}  // namespace cachee::daemon
