// What the counted programs share: one operation, by its name, in a segment of its own.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

#include "workload/keeper.hpp"

namespace cachee::bench {

/// main() of a program `NAME OPERATION COUNT`: calls run(owner, segment, operation, count) for the operation whose
/// `name` was given; 1 when there is none.
template <class Operations, class Run>
int count_operation(int argc, char** argv, const Operations& operations, Run run) {
  if (argc != 3) die(std::string{"usage: "} + argv[0] + " OPERATION COUNT");
  SegmentOptions options{.memory_bytes = std::size_t{256} << 20, .eviction = EvictionPolicy::none};
  options.name = "bench-count-" + std::to_string(getpid());
  options.fresh = true;
  auto owner = must(Maintainer::create(options), "segment");
  int status = 1;
  for (const auto& operation : operations) {
    if (std::strcmp(operation.name, argv[1]) != 0) continue;
    run(owner, options.name, operation, std::strtoull(argv[2], nullptr, 10));
    status = 0;
  }
  static_cast<void>(remove_segment(options.name));
  return status;
}

}  // namespace cachee::bench
