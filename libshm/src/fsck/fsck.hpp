// Verdicts on every invariant that can be seen in the bytes. Read-only. Ids are those of the module
// headers ([SL-..] slab.hpp, [IX-..] index.hpp, ...).
//
// On a busy segment transient states are legal; those checks are made only when every client is
// idle from the beginning of the check to its end (report.quiescent). Else only what several looks, one after
// another, find at the same place is reported: clients that go on while a look reads make it see what never was.
#pragma once

#include <cachee/inspect.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

[[nodiscard]] FsckReport check_segment(const View& view);

}  // namespace cachee::shm
