// INFO: figures of the server and the segment, in the sections and the form that Redis has.
#pragma once

#include <string>

#include "control/commands/call.hpp"

namespace cachee::daemon {

/// `sections` in any case; none of them: the default ones. Unknown names are passed over.
[[nodiscard]] std::string info_text(const ServerState& server, Arguments sections);

}  // namespace cachee::daemon
