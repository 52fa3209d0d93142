// A forked child that another process runs by the instruction (ptrace), and what it does to a
// segment: after each instruction that touched the segment its bytes there are compared with a
// shadow, so every state of the memory is seen when it comes into being.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/memory_operand.hpp"

namespace cachee::test {

/// The bytes of a segment, mapped beside the library's own mapping.
class RawSegment {
 public:
  explicit RawSegment(const std::string& name) : path_{"/dev/shm/cachee." + name} {
    const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct stat info {};
    if (fd < 0 || fstat(fd, &info) != 0) throw std::runtime_error("open " + path_);
    bytes_ = static_cast<std::size_t>(info.st_size);
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (at == MAP_FAILED) throw std::runtime_error("mmap " + path_);
    at_ = static_cast<char*>(at);
    madvise(at_, bytes_, MADV_DONTFORK);  // a child has its own mapping and no other
  }
  RawSegment(const RawSegment&) = delete;
  RawSegment& operator=(const RawSegment&) = delete;
  ~RawSegment() { munmap(at_, bytes_); }

  using Image = std::vector<char>;
  Image image() const { return Image(at_, at_ + bytes_); }
  void load(const Image& image) { std::memcpy(at_, image.data(), bytes_); }
  const char* at() const { return at_; }
  std::size_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::size_t bytes_ = 0;
  char* at_ = nullptr;
};

/// What parent and child tell each other, in memory that both see.
struct Mark {
  enum Phase : int { starting = 0, inside = 1, done = 2 };
  volatile int phase = starting;  // never looked at while the other one runs
  char got[512] = {};
  /// The child, where its interesting part begins: it stops for its tracer.
  void begin() {
    phase = inside;
    raise(SIGSTOP);
  }
  /// ... and where it ends. `text` is what the operation returned.
  void end(const std::string& text = {}) {
    std::snprintf(got, sizeof got, "%s", text.c_str());
    phase = done;
    raise(SIGSTOP);
  }
};

class Stepped {
 public:
  /// Forks; `body` runs in the child and calls begin() and end(). Returns when begin() was called.
  Stepped(RawSegment& segment, const std::function<void(Mark&)>& body) : segment_{segment} {
    void* const memory = mmap(nullptr, sizeof(Mark), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap");
    mark_ = new (memory) Mark;
    child_ = fork();
    if (child_ < 0) throw std::runtime_error("fork");
    if (child_ == 0) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      try {
        body(*mark_);
      } catch (...) {
        _exit(3);
      }
      _exit(0);
    }
    own_mark_ = true;
    if (!wait_stop() || mark_->phase != Mark::inside) fail("the child did not begin");
    ptrace(PTRACE_SETOPTIONS, child_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK);
    find_mapping();
    shadow_ = segment_.image();
  }
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;
  ~Stepped() {
    kill_now();
    if (own_mark_) {
      munmap(mark_, sizeof(Mark));
    } else {
      *mark_ = before_;
    }
  }

  struct Seen {
    bool ended = false;     // no instruction was left
    bool accessed = false;  // it touched the segment
    bool changed = false;   // and made a new state
    std::size_t first = 0;  // offset of the first byte that changed
    std::size_t end = 0;    // ... and behind the last
  };
  /// Runs one instruction.
  Seen step() {
    Seen seen;
    if (mark_->phase != Mark::inside) {
      check_whole();
      seen.ended = true;
      return seen;
    }
    const Operand operand = next_operand();
    resume(PTRACE_SINGLESTEP);
    ++instructions_;
    if (operand.is_system_call && mapping_ == 0) find_mapping();
    for (const std::uint64_t address : operand.addresses) {
      if (address < mapping_ || address >= mapping_ + segment_.bytes()) continue;
      seen.accessed = true;
      compare(address - mapping_, seen);
    }
    // A write that the decoder overlooked would show here.
    if (instructions_ % kWholeEvery == 0) check_whole();
    return seen;
  }
  /// True when the next instruction touches the segment.
  bool about_to_access() {
    if (mark_->phase != Mark::inside) return false;
    for (const std::uint64_t address : next_operand().addresses) {
      if (address >= mapping_ && address < mapping_ + segment_.bytes()) return true;
    }
    return false;
  }
  /// Goes on alone until end().
  void finish() {
    if (!own_mark_) *mark_ = before_;  // others with the same mark may have ended meanwhile
    if (mark_->phase == Mark::inside) resume(PTRACE_CONT);
    if (mark_->phase != Mark::done) fail("the child did not end");
  }
  /// A process that goes on from here with this one's memory, its mapping of the segment too; this one stays. Not
  /// to be stepped.
  std::unique_ptr<Stepped> clone() { return std::unique_ptr<Stepped>{new Stepped{*this}}; }

  void kill_now() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    int status = 0;
    while (waitpid(child_, &status, __WALL) == child_ && !WIFEXITED(status) && !WIFSIGNALED(status)) {
    }
    child_ = 0;
  }
  long instructions() const { return instructions_; }
  const RawSegment::Image& state() const { return shadow_; }
  std::string got() const { return mark_->got; }
  pid_t pid() const { return child_; }

 private:
  static constexpr std::size_t kWindowBytes = 64;  // the widest store
  static constexpr long kWholeEvery = 4096;

  /// The other one's copy, by a fork system call in its name.
  explicit Stepped(Stepped& other)
      : segment_{other.segment_}, mark_{other.mark_}, before_{*other.mark_}, mapping_{other.mapping_}, instructions_{other.instructions_} {
    const user_regs_struct before = other.registers();
    // The library's mapping is not for forked children.
    if (mapping_ != 0) {
      other.prepare_call(before, SYS_madvise, mapping_, segment_.bytes(), MADV_DOFORK);
      other.resume(PTRACE_SINGLESTEP);
    }
    other.prepare_call(before, SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0);  // a sibling: its end is this process's to know
    int status = 0;
    ptrace(PTRACE_CONT, other.child_, nullptr, nullptr);
    if (waitpid(other.child_, &status, 0) != other.child_ || status >> 8 != (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
      other.fail("no fork, but status " + std::to_string(status));
    }
    unsigned long made = 0;
    ptrace(PTRACE_GETEVENTMSG, other.child_, nullptr, &made);
    child_ = static_cast<pid_t>(made);
    if (waitpid(child_, &status, __WALL) != child_ || !WIFSTOPPED(status)) fail("the copy did not stop");
    ptrace(PTRACE_SINGLESTEP, other.child_, nullptr, nullptr);
    if (waitpid(other.child_, &status, 0) != other.child_ || !WIFSTOPPED(status)) other.fail("no step behind the fork");
    ptrace(PTRACE_SETREGS, other.child_, nullptr, &before);
    ptrace(PTRACE_SETREGS, child_, nullptr, &before);
  }

  /// The child's next instruction is a system call.
  void prepare_call(const user_regs_struct& before, long number, std::uint64_t a, std::uint64_t b, std::uint64_t c) const {
    user_regs_struct call = before;
    call.rax = static_cast<std::uint64_t>(number);
    call.rdi = a;
    call.rsi = b;
    call.rdx = c;
    call.r10 = call.r8 = 0;
    call.orig_rax = ~0ull;
    call.rip = reinterpret_cast<std::uint64_t>(&cachee_test_system_call);
    ptrace(PTRACE_SETREGS, child_, nullptr, &call);
  }
  [[noreturn]] void fail(const std::string& what) {
    kill_now();
    throw std::runtime_error(what);
  }
  user_regs_struct registers() const {
    user_regs_struct out{};
    ptrace(PTRACE_GETREGS, child_, nullptr, &out);
    return out;
  }
  Operand next_operand() const { return memory_operand(registers()); }
  /// False: the child is gone.
  bool wait_stop() {
    int status = 0;
    if (waitpid(child_, &status, __WALL) != child_) return false;
    if (WIFSTOPPED(status)) {
      signal_ = WSTOPSIG(status);
      return true;
    }
    child_ = 0;
    return false;
  }
  template <class Request>
  void resume(Request request) {
    ptrace(request, child_, nullptr, nullptr);
    if (!wait_stop()) fail("the child is gone");
    if (signal_ != SIGTRAP && signal_ != SIGSTOP) fail("the child got signal " + std::to_string(signal_));
  }
  /// Where the child has the segment.
  void find_mapping() {
    FILE* const maps = std::fopen(("/proc/" + std::to_string(child_) + "/maps").c_str(), "re");
    if (maps == nullptr) return;
    char line[512];
    unsigned long begin = 0;
    while (mapping_ == 0 && std::fgets(line, sizeof line, maps) != nullptr) {
      if (std::strstr(line, segment_.path().c_str()) != nullptr && std::sscanf(line, "%lx-", &begin) == 1) mapping_ = begin;
    }
    std::fclose(maps);
  }
  void compare(std::size_t offset, Seen& seen) {
    const std::size_t begin = offset & ~std::size_t{7};
    const std::size_t end = std::min(begin + kWindowBytes + 8, segment_.bytes());
    for (std::size_t at = begin; at < end; at += 8) {
      if (std::memcmp(segment_.at() + at, shadow_.data() + at, 8) == 0) continue;
      std::memcpy(shadow_.data() + at, segment_.at() + at, 8);
      if (!seen.changed) seen.first = at;
      seen.changed = true;
      seen.end = at + 8;
    }
  }
  void check_whole() {
    if (std::memcmp(segment_.at(), shadow_.data(), segment_.bytes()) != 0) fail("a write was overlooked");
  }

  RawSegment& segment_;
  Mark* mark_ = nullptr;
  bool own_mark_ = false;
  Mark before_;  // of a copy: what both see is the other one's again at its end
  pid_t child_ = 0;
  int signal_ = 0;
  std::uint64_t mapping_ = 0;
  long instructions_ = 0;
  RawSegment::Image shadow_;
};

}  // namespace cachee::test
