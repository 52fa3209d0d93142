// triggers.d/*.lua: a handler with its registration in comment lines at its top. Pure.
//
//   -- Anything else may stand in comments, too.
//   -- trigger: session:* ON_EXPIRE,ON_DELETE NAME session-ended
//   -- trigger: RETRY 8 BACKOFF 100ms 30s
//   cachee.log("sessions", {key = event.key})
//
// The words behind `trigger:` are those of TRIGGER REGISTER, quoted as on a command line; several
// such lines are read as one. They count up to the first line that is neither empty nor a comment.
#pragma once

#include <string_view>

#include <cachee/triggers.hpp>

#include "core/outcome.hpp"

namespace cachee::daemon {

/// The spec with the whole text as its source, so that lines are numbered as in the file. `file`
/// is for messages, which also have the line.
[[nodiscard]] Outcome<TriggerSpec> parse_trigger_file(std::string_view text,
                                                      std::string_view file);

}  // namespace cachee::daemon
