// Several processes at once, each pinned to a core where there are enough: how many operations they do
// together, and how long single ones take.
#pragma once

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <sched.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload/keeper.hpp"

namespace cachee::bench {

struct Tail {
  double mops = 0;
  double p50_ns = 0, p99_ns = 0, p999_ns = 0;
};

/// The run in the middle, by operations per second.
[[nodiscard]] inline Tail median(std::vector<Tail> tails) {
  if (tails.empty()) return {};
  std::sort(tails.begin(), tails.end(), [](const Tail& a, const Tail& b) { return a.mops < b.mops; });
  return tails[tails.size() / 2];
}

inline void pin_to_core(std::size_t index) noexcept {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(index % static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN)), &one);
  sched_setaffinity(0, sizeof one, &one);
}

namespace processes {

inline constexpr std::size_t kBuckets = 65536;
inline constexpr TimeNs kBucketNs = 10;
inline constexpr int kOperationsPerSample = 16;

struct Worker {  // what one process reports, in memory shared with its parent
  std::uint64_t operations;
  TimeNs took;
  std::uint32_t histogram[kBuckets];  // of every 16th operation
};

inline volatile std::sig_atomic_t time_is_up = 0;

template <class Step>
void work(Step&& step, std::size_t warming_up, double seconds, int ready_fd, int go_fd, Worker& mine) {
  for (std::size_t n = warming_up; n > 0; --n) step();
  std::signal(SIGALRM, [](int) { time_is_up = 1; });
  char byte = 'r';
  if (write(ready_fd, &byte, 1) != 1 || read(go_fd, &byte, 1) != 1) die("the parent is gone");
  const auto whole = static_cast<time_t>(seconds);
  const double part = seconds - static_cast<double>(whole);
  const itimerval timer{{0, 0}, {whole, static_cast<suseconds_t>(part * 1e6)}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  const TimeNs start = monotonic_now();
  while (time_is_up == 0) {
    for (int n = 1; n < kOperationsPerSample; ++n) step();
    const TimeNs before = monotonic_now();
    step();
    const TimeNs bucket = (monotonic_now() - before) / kBucketNs;
    ++mine.histogram[std::min<TimeNs>(bucket, kBuckets - 1)];
    mine.operations += kOperationsPerSample;
  }
  mine.took = monotonic_now() - start;
}

inline Tail tail_of(std::span<const Worker> workers) {
  Tail tail;
  std::vector<std::uint64_t> histogram(kBuckets);
  std::uint64_t samples = 0;
  for (const Worker& worker : workers) {
    tail.mops += static_cast<double>(worker.operations) * 1000 / static_cast<double>(worker.took);
    for (std::size_t n = 0; n < histogram.size(); ++n) {
      histogram[n] += worker.histogram[n];
      samples += worker.histogram[n];
    }
  }
  const auto percentile = [&](double part) {
    const auto wanted = static_cast<std::uint64_t>(part * static_cast<double>(samples));
    std::uint64_t seen = 0;
    for (std::size_t n = 0; n < histogram.size(); ++n) {
      seen += histogram[n];
      if (seen > wanted) return static_cast<double>(n) * static_cast<double>(kBucketNs);
    }
    return 0.0;
  };
  tail.p50_ns = percentile(0.5);
  tail.p99_ns = percentile(0.99);
  tail.p999_ns = percentile(0.999);
  return tail;
}

}  // namespace processes

/// Runs `count` processes for `seconds`. In each, make_step(index) gives the operation, which is repeated
/// `warming_up` times before the clock runs, so that page faults are over. The first `measured` processes
/// are in the figures.
template <class MakeStep>
Tail run_processes(std::size_t count, std::size_t measured, double seconds, std::size_t warming_up, MakeStep&& make_step) {
  using processes::Worker;
  const std::size_t bytes = sizeof(Worker) * count;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ready[2];
  int go[2];
  if (mapped == MAP_FAILED || pipe(ready) != 0 || pipe(go) != 0) die(std::strerror(errno));
  const std::span<Worker> workers{static_cast<Worker*>(mapped), count};
  std::vector<pid_t> pids;
  for (std::size_t index = 0; index < count; ++index) {
    const pid_t pid = fork();
    if (pid == 0) {
      pin_to_core(index);
      processes::work(make_step(index), warming_up, seconds, ready[1], go[0], workers[index]);
      _exit(0);
    }
    pids.push_back(pid);
  }
  close(ready[1]);
  std::vector<char> bytes_read(count);
  for (std::size_t n = 0; n < count; ++n) {
    if (read(ready[0], bytes_read.data(), 1) != 1) die("a worker ended early");
  }
  if (write(go[1], bytes_read.data(), count) != static_cast<ssize_t>(count)) die(std::strerror(errno));
  for (const pid_t pid : pids) {
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) die("a worker failed");
  }
  for (const int fd : {ready[0], go[0], go[1]}) close(fd);
  const Tail tail = processes::tail_of(workers.first(measured));
  munmap(mapped, bytes);
  return tail;
}

}  // namespace cachee::bench
