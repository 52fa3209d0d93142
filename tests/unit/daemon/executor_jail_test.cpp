// Goal: whatever code gets hold of an executor process, it cannot open, connect, run, fork or
// signal anything; what Lua needs still works.
// Method: children that enter the jail and then ask; each must die by SIGSYS, or work.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/jail.hpp"

namespace cachee::daemon {
namespace {

/// Wait status of a child that enters the jail and then does `body`.
template <class Body>
int status_of_jailed(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    if (!enter_jail({})) _exit(99);
    body();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

template <class Body>
void expect_killed(const char* what, Body&& body) {
  const int status = status_of_jailed(body);
  EXPECT_TRUE(WIFSIGNALED(status))
      << what << " did not end the process: exit code " << WEXITSTATUS(status);
  if (WIFSIGNALED(status)) {
    EXPECT_EQ(WTERMSIG(status), SIGSYS) << what;
  }
}

template <class Body>
void expect_works(const char* what, Body&& body) {
  const int status = status_of_jailed(body);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << what << ": status " << status;
}

TEST(Jail, KillsWhoeverAsksForTheWorldOutside) {
  expect_killed("open", [] { syscall(SYS_open, "/etc/passwd", O_RDONLY); });
  expect_killed("openat", [] { open("/etc/passwd", O_RDONLY); });
  expect_killed("creat", [] { creat("/tmp/cachee-jail-test", 0600); });
  expect_killed("unlink", [] { unlink("/tmp/cachee-jail-test"); });
  expect_killed("stat", [] { access("/", F_OK); });
  expect_killed("socket", [] { socket(AF_INET, SOCK_STREAM, 0); });
  expect_killed("socketpair", [] {
    int fds[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
  });
  expect_killed("execve", [] { execl("/bin/true", "true", nullptr); });
  expect_killed("fork", [] { fork(); });
  expect_killed("vfork", [] { syscall(SYS_vfork); });
  expect_killed("clone3", [] { syscall(SYS_clone3, nullptr, 0); });
  expect_killed("kill", [] { kill(getppid(), 0); });
  expect_killed("tgkill of another", [] { syscall(SYS_tgkill, 1, 1, 0); });
  expect_killed("ptrace", [] { ptrace(PTRACE_TRACEME); });
  expect_killed("process_vm_writev",
                [] { syscall(SYS_process_vm_writev, 1, nullptr, 0, nullptr, 0, 0); });
  expect_killed("pidfd_open", [] { syscall(SYS_pidfd_open, 1, 0); });
  expect_killed("prctl", [] { prctl(PR_SET_DUMPABLE, 1); });
  expect_killed("prlimit", [] {
    rlimit lifted{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &lifted);
  });
  expect_killed("unshare", [] { syscall(SYS_unshare, 0); });
  expect_killed("mount", [] { syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); });
  expect_killed("bpf", [] { syscall(SYS_bpf, 0, nullptr, 0); });
  expect_killed("io_uring_setup", [] { syscall(SYS_io_uring_setup, 1, nullptr); });
  expect_killed("memfd_create", [] { memfd_create("x", 0); });
  expect_killed("shmget", [] { syscall(SYS_shmget, 0, 4096, 0600); });
  expect_killed("userfaultfd", [] { syscall(SYS_userfaultfd, 0); });
  expect_killed("read", [] {
    char c = 0;
    static_cast<void>(!read(0, &c, 1));
  });
  expect_killed("write to another descriptor", [] { static_cast<void>(!write(1, "x", 1)); });
  expect_killed("executable memory", [] {
    mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  });
  expect_killed("memory made executable", [] {
    void* const at =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at, 4096, PROT_READ | PROT_EXEC);
  });
  expect_killed("a mapped file", [] { mmap(nullptr, 4096, PROT_READ, MAP_SHARED, 0, 0); });
#if defined(__x86_64__)
  expect_killed("the x32 way in", [] { syscall(0x40000000 + SYS_getpid); });
#endif
}

TEST(Jail, LeavesWhatLuaNeeds) {
  expect_works("memory", [] {
    std::vector<void*> blocks;
    for (std::size_t bytes = 16; bytes < (std::size_t{64} << 20); bytes *= 2) {
      blocks.push_back(std::malloc(bytes));
      if (blocks.back() == nullptr) _exit(1);
    }
    for (void*& block : blocks) {
      block = std::realloc(block, 100'000);
      if (block == nullptr) _exit(2);
    }
    for (void* block : blocks) std::free(block);
  });
  expect_works("clocks and sleep", [] {
    timespec now{};
    timespec brief{0, 1000};
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || nanosleep(&brief, nullptr) != 0) _exit(1);
  });
  expect_works("last words", [] { static_cast<void>(!write(2, "", 0)); });
  const int status = status_of_jailed([] { std::abort(); });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Jail, BoundsMemory) {
  expect_works("a refused allocation", [] {
    void* const huge = std::malloc(std::size_t{16} << 30);
    if (huge != nullptr) _exit(1);
  });
}
#endif

TEST(Jail, ClosesEveryDescriptorButThoseKept) {
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const int secret = open("/dev/null", O_RDONLY);
  const int kept = open("/dev/null", O_RDONLY);
  const pid_t child = fork();
  if (child == 0) {
    if (!enter_jail({kept})) _exit(99);
    for (;;) {
      timespec brief{1, 0};
      nanosleep(&brief, nullptr);
    }
  }
  const std::string folder = "/proc/" + std::to_string(child) + "/fd";
  std::vector<int> open_now;
  for (int turn = 0; turn < 1000; ++turn) {
    open_now.clear();
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{folder, error}) {
      open_now.push_back(std::stoi(entry.path().filename()));
    }
    if (error || open_now.size() <= 2) break;
    usleep(5000);
  }
  std::sort(open_now.begin(), open_now.end());
  kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  // Without root the folder of a process that may not be looked into is closed to us, too.
  if (!open_now.empty()) {
    EXPECT_EQ(open_now, (std::vector<int>{2, kept}));
  }
  close(secret);
  close(kept);
  close(report[0]);
  close(report[1]);
}

}  // namespace
}  // namespace cachee::daemon
