// main() of tests whose executors are the test program itself, started again.
#include <gtest/gtest.h>

#include <cstddef>
#include <span>

#include "executor/executor_main.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == cachee::daemon::kExecutorArgument) {
    return cachee::daemon::executor_main(std::span{argv + 1, static_cast<std::size_t>(argc - 1)});
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
