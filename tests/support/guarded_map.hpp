// Mappings between guard pages: an access one byte before or behind a mapped segment is a SIGSEGV
// instead of a look at whatever the kernel put there.
//
// Method: a program links with -Wl,--wrap=mmap,--wrap=munmap and with guarded_map.cpp; every shared
// mapping is then put into the middle of a reservation that nobody may touch.
#pragma once

namespace cachee::test {

/// Shared mappings that were made between guards since the program started.
unsigned guarded_maps_made() noexcept;

}  // namespace cachee::test
