// What `cacheed` becomes when the supervisor starts it as an executor.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "executor/pool.hpp"

namespace cachee::daemon {

/// First argument of such a start.
inline constexpr std::string_view kExecutorArgument = "--executor";
inline constexpr int kInboxFd = 3;
inline constexpr int kOutboxFd = 4;

/// The arguments behind the program's name; executor_main() reads them back.
[[nodiscard]] std::vector<std::string> executor_arguments(const ExecutorOptions& options,
                                                          int parent_pid);

/// Runs until it is killed or its parent ends. Returns the exit code when it cannot begin.
int executor_main(std::span<char* const> arguments);

}  // namespace cachee::daemon
