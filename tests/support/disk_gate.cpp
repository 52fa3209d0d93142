#include "support/disk_gate.hpp"

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::test {
namespace {

std::mutex g_mutex;
std::condition_variable g_changed;
std::string g_part;  // empty: there is no gate
bool g_shut = false;
int g_waiting = 0;

}  // namespace

DiskGate::DiskGate(std::string part) {
  const std::lock_guard lock{g_mutex};
  g_part = std::move(part);
  g_shut = true;
}

DiskGate::~DiskGate() {
  open();
  const std::lock_guard lock{g_mutex};
  g_part.clear();
}

void DiskGate::open() {
  const std::lock_guard lock{g_mutex};
  g_shut = false;
  g_changed.notify_all();
}

bool DiskGate::held() {
  const std::lock_guard lock{g_mutex};
  return g_waiting > 0;
}

namespace {

long pass_gate(long number, int fd) {
  {
    std::unique_lock lock{g_mutex};
    std::error_code unnamed;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), unnamed).string();
    if (!g_part.empty() && path.find(g_part) != std::string::npos) {
      ++g_waiting;
      g_changed.wait(lock, [] { return !g_shut; });
      --g_waiting;
    }
  }
  return ::syscall(number, fd);
}

}  // namespace
}  // namespace cachee::test

extern "C" __attribute__((visibility("default"))) int fdatasync(int fd) {
  return static_cast<int>(cachee::test::pass_gate(SYS_fdatasync, fd));
}
extern "C" __attribute__((visibility("default"))) int fsync(int fd) {
  return static_cast<int>(cachee::test::pass_gate(SYS_fsync, fd));
}
