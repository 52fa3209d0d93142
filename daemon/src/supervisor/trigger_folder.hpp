// triggers.d/*.lua: registered at start, and again on SIGHUP.
#pragma once

#include <string>
#include <vector>

#include "control/admin.hpp"

namespace cachee::daemon {

struct FolderReport {
  std::size_t registered = 0;
  std::vector<std::string> errors{};  // one sentence each, with file and line
};

/// Registers every file of the folder that is new or differs from what is registered under its name.
/// A file that is wrong is reported and what was registered before stays.
[[nodiscard]] FolderReport load_trigger_folder(const std::string& folder, TriggerAdmin& triggers);

}  // namespace cachee::daemon
