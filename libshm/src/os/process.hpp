// Who is alive. A registration (one per handle) holds a POSIX record lock on a file of its own in
// `/dev/shm/cachee.<name>.locks/`: the kernel releases it at death, whatever the pid namespace. The
// file is opened once and only by its owner (closing any other descriptor of it in the same
// process would release the lock), so a process never tests its own registrations.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <cachee/result.hpp>

namespace cachee::os {

/// A lock file that this process holds; released by the destructor or by death.
class HeldLock {
 public:
  HeldLock() noexcept = default;
  HeldLock(HeldLock&&) noexcept;
  HeldLock& operator=(HeldLock&&) noexcept;
  ~HeldLock();
  [[nodiscard]] bool held() const noexcept { return fd_ >= 0; }

 private:
  friend Result<HeldLock> hold_lock(std::string_view, const std::string&, std::uint32_t) noexcept;
  int fd_ = -1;
  std::uint64_t made_in_ = 0;  // fork epoch
};

[[nodiscard]] std::string registration_file(std::uint64_t registration);
inline constexpr const char* kSupervisorFile = "supervisor";

/// Creates the file if needed and locks it; writes this pid into it.
/// @error busy  detail = pid of the holder
[[nodiscard]] Result<HeldLock> hold_lock(std::string_view segment, const std::string& file, std::uint32_t mode) noexcept;
/// Pid of whoever holds the lock, 0: nobody. Never to be asked of a file this process holds.
[[nodiscard]] std::int32_t lock_holder(std::string_view segment, const std::string& file) noexcept;
void remove_lock_file(std::string_view segment, const std::string& file) noexcept;
void remove_lock_folder(std::string_view segment) noexcept;

/// A process, apart from others of its pid: of other times by the start, of other PID namespaces (two
/// containers may start their first process in one tick) by the namespace's number.
struct ProcessIdentity {
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;  // since boot (kStartTicksBits) | low bits of the namespace's inode
};
inline constexpr unsigned kStartTicksBits = 40;
[[nodiscard]] ProcessIdentity own_identity() noexcept;

namespace detail {
inline constinit std::uint64_t g_fork_epoch = 0;
}
/// Grows by one in every forked child: handles made before see that they are in a child. Counted
/// from watch_forks() on.
[[nodiscard]] inline std::uint64_t fork_epoch() noexcept { return detail::g_fork_epoch; }
/// To be called before the first fork_epoch() that is kept. Any number of times.
void watch_forks() noexcept;

/// 16 random bytes from the kernel.
void random_bytes(void* out, std::size_t bytes) noexcept;

}  // namespace cachee::os
