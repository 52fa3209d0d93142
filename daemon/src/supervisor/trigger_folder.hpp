// triggers.d/*.lua: registered at start, and again on SIGHUP; what came from a file goes with it.
#pragma once

#include <string>
#include <vector>

#include "control/admin.hpp"

namespace cachee::daemon {

struct FolderReport {
  std::size_t registered = 0;
  std::vector<std::string> removed{};  // triggers whose file is gone
  std::vector<std::string> errors{};  // one sentence each, with file and line
};

/// Registers every file of the folder that is new or differs from what is registered under its name.
/// ENABLE, DISABLE, PAUSE and RESUME of it stand: DISABLED in a header is for the first time. A file that is
/// wrong is reported and what was registered before stays. Of two files with one name the first counts, by their own
/// names, and the other is reported. Triggers that came from files are removed when no file names them any more, unless a
/// file or the folder could not be read: it may be theirs.
[[nodiscard]] FolderReport load_trigger_folder(const std::string& folder, TriggerAdmin& triggers);

}  // namespace cachee::daemon
