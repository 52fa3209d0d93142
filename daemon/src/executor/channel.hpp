// Channel: messages from one process to another through shared memory (a memfd): one producer, one
// consumer, bytes in a ring. A message longer than the ring streams through it.
//
// Use:   auto channel = Channel::create(1 << 20);         // the supervisor; pass channel.fd() on
//        auto same = Channel::map(fd);                    // the other process
//        same->write(message, keep_going);                // producer
//        while (auto message = channel->read()) use(*message);   // consumer
//
// Neither side trusts the other's bytes: positions and lengths are checked against the ring and
// kMessageBytesMax, and a channel that makes no sense is `broken()` for good.
//
// Threads: one on each side. Killed writers leave at worst half a message, which is never delivered.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/outcome.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kMessageBytesMax = std::size_t{256} << 20;

class Channel {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Channel>> create(std::size_t ring_bytes);
  /// Maps what create() made; keeps the descriptor.
  [[nodiscard]] static Outcome<std::unique_ptr<Channel>> map(int fd);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();
  [[nodiscard]] int fd() const noexcept { return fd_; }

  // Producer
  /// Writes all of a message or nothing; false: there is no room now. For messages that fit.
  bool try_write(std::string_view message);
  /// Waits for room, also for messages longer than the ring. False: `keep_going` said no, or the
  /// channel is broken.
  bool write(std::string_view message, const std::function<bool()>& keep_going);

  // Consumer
  /// The next whole message; valid until the next call.
  [[nodiscard]] std::optional<std::string_view> read();
  /// Sleeps until there may be something to read.
  void wait(std::chrono::microseconds longest);
  /// Ends a wait() of the other side.
  void wake();

  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  struct Shared;
  Channel(int fd, Shared* shared, std::size_t mapped_bytes, std::size_t ring_bytes) noexcept
      : fd_{fd}, shared_{shared}, mapped_bytes_{mapped_bytes}, ring_bytes_{ring_bytes} {}
  [[nodiscard]] std::size_t room() noexcept;
  [[nodiscard]] std::size_t filled() noexcept;
  void put(std::string_view bytes) noexcept;
  void take(char* out, std::size_t bytes) noexcept;
  void publish() noexcept;
  [[nodiscard]] char* ring() const noexcept;

  int fd_;
  Shared* shared_;
  std::size_t mapped_bytes_;
  std::size_t ring_bytes_;
  std::uint64_t own_ = 0;            // this side's position, the one it publishes
  std::string message_{};
  std::optional<std::size_t> expected_{};  // bytes of the message that is being read
  bool broken_ = false;
};

}  // namespace cachee::daemon
