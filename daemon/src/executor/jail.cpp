#include "executor/jail.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cachee::daemon {
namespace {

constexpr rlim_t kAddressSpaceMargin = rlim_t{4} << 30;  // above what is mapped when the jail shuts
constexpr int kLogFd = 2;
constexpr unsigned kDescriptorsTried = 65536;  // where close_range is missing

Failure failure(const char* what, int error) {
  return {Errc::unsupported, std::string{"the executor's jail: "} + what + ": " +
                                 std::strerror(error) + "; executors do not run without it"};
}

void close_range_or_each(unsigned first, unsigned last) noexcept {
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
  for (unsigned fd = first; fd <= std::min(last, kDescriptorsTried); ++fd) {
    close(static_cast<int>(fd));
  }
}

void close_others(std::initializer_list<int> kept) {
  std::vector<unsigned> keep{kLogFd};
  for (const int fd : kept) keep.push_back(static_cast<unsigned>(fd));
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (const unsigned fd : keep) {
    if (fd > from) close_range_or_each(from, fd - 1);
    from = fd + 1;
  }
  close_range_or_each(from, ~0U);
}

void limit(__rlimit_resource resource, rlim_t value) noexcept {
  const rlimit wanted{value, value};
  setrlimit(resource, &wanted);
}

/// Size of the address space now, from /proc; 0 when it cannot be read.
rlim_t mapped_bytes() noexcept {
  unsigned long pages = 0;
  if (FILE* const file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

/// A filter under construction: the first error stays.
class Filter {
 public:
  Filter() : context_{seccomp_init(SCMP_ACT_KILL_PROCESS)} {
    error_ = context_ == nullptr
                 ? -ENOMEM
                 : seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  void allow(int number, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    if (error_ != 0) return;
    error_ = seccomp_rule_add_array(context_, SCMP_ACT_ALLOW, number,
                                    static_cast<unsigned>(conditions.size()), conditions.begin());
  }
  [[nodiscard]] int load() { return error_ != 0 ? error_ : seccomp_load(context_); }

 private:
  scmp_filter_ctx context_;
  int error_ = 0;
};

}  // namespace

Outcome<void> enter_jail(std::initializer_list<int> kept) {
  const rlim_t mapped = mapped_bytes();
  close_others(kept);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_NPROC, 0);
  limit(RLIMIT_MEMLOCK, 0);
  limit(RLIMIT_MSGQUEUE, 0);
  if (mapped > 0) limit(RLIMIT_AS, mapped + kAddressSpaceMargin);
  // No dumps, and nobody but root may look inside.
  prctl(PR_SET_DUMPABLE, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failure("no_new_privs", errno);

  Filter filter;
  for (const int number :
       {SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
        SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall), SCMP_SYS(brk), SCMP_SYS(munmap),
        SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(getrandom), SCMP_SYS(getpid),
        SCMP_SYS(gettid), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction)}) {
    filter.allow(number);
  }
  // Memory, but none that can be executed and none that comes from a file.
  filter.allow(SCMP_SYS(mmap), {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                                SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS)});
  filter.allow(SCMP_SYS(mprotect), {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)});
  // Last words, and the signal that abort() sends to the process itself.
  filter.allow(SCMP_SYS(write), {SCMP_A0(SCMP_CMP_EQ, kLogFd)});
  filter.allow(SCMP_SYS(tgkill), {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid()))});
#ifdef __SANITIZE_ADDRESS__
  // AddressSanitizer sees to its signal stack.
  filter.allow(SCMP_SYS(sigaltstack));
#endif
  if (const int error = filter.load(); error != 0) return failure("seccomp", -error);
  return {};
}

}  // namespace cachee::daemon
