// The reference page of the command language, made from the command table.
#pragma once

#include <string>

namespace cachee::daemon {

[[nodiscard]] std::string commands_markdown();  // daemon/doc/commands.md

}  // namespace cachee::daemon
