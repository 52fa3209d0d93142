// Verdicts on every invariant that can be seen in the bytes. Read-only. Ids are those of the module
// headers ([SL-..] slab.hpp, [IX-..] index.hpp, ...).
//
// On a busy segment transient states are legal; those checks are made only when every client is
// idle (report.quiescent).
#pragma once

#include <cachee/inspect.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

[[nodiscard]] FsckReport check_segment(const View& view);

}  // namespace cachee::shm
