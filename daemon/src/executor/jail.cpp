#include "executor/jail.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include <linux/futex.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::daemon {
namespace {

constexpr rlim_t kAddressSpaceMargin = rlim_t{4} << 30;  // above what is mapped when the jail shuts

Failure failure(const char* what, int error) {
  return {Errc::unsupported, std::string{"the executor's jail: "} + what + ": " + std::strerror(error) +
                                 "; executors do not run without it"};
}

void close_others(std::initializer_list<int> kept) noexcept {
  std::vector<unsigned> keep{2};
  for (const int fd : kept) keep.push_back(static_cast<unsigned>(fd));
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (const unsigned fd : keep) {
    if (fd > from) syscall(SYS_close_range, from, fd - 1, 0);
    from = fd + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0);
}

void limit(__rlimit_resource resource, rlim_t value) noexcept {
  const rlimit wanted{value, value};
  setrlimit(resource, &wanted);
}

/// Size of the address space now, from /proc; 0 when it cannot be read.
rlim_t mapped_bytes() noexcept {
  if (FILE* file = std::fopen("/proc/self/statm", "re")) {
    unsigned long pages = 0;
    const bool read = std::fscanf(file, "%lu", &pages) == 1;
    std::fclose(file);
    if (read) return static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  }
  return 0;
}

}  // namespace

Outcome<void> enter_jail(std::initializer_list<int> kept) {
  const rlim_t mapped = mapped_bytes();
  close_others(kept);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 16);
  limit(RLIMIT_NPROC, 0);
  limit(RLIMIT_FSIZE, 0);
  if (mapped > 0) limit(RLIMIT_AS, mapped + kAddressSpaceMargin);
  // No core dumps, and nobody may trace it but root.
  prctl(PR_SET_DUMPABLE, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failure("no_new_privs", errno);

  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return failure("seccomp_init", ENOMEM);
  int error = 0;
  const auto allow = [&](int number) {
    if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
  };
  for (const int number : {SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
                           SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(exit),
                           SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall),
                           SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getrandom)}) {
    allow(number);
  }
  // Memory, but none that can be executed and none that comes from a file.
  if (error == 0) {
    error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                             SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
  }
  if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  // Its last words.
  if (error == 0) error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, 2));
  // abort() of a failed check: a signal to itself and to nobody else.
  if (error == 0) {
    error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid())));
  }
  allow(SCMP_SYS(rt_sigprocmask));
  allow(SCMP_SYS(rt_sigaction));
  if (error == 0) error = seccomp_load(filter);
  seccomp_release(filter);
  if (error != 0) return failure("seccomp", -error);
  return {};
}

}  // namespace cachee::daemon
