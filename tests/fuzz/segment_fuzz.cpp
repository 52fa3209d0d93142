// Claim: whatever the bytes of a segment are, no client, supervisor, fsck or tool touches memory
// outside the mapping, hangs or aborts. The input decides which words of a populated segment are
// damaged and how (support/hostile_segment.hpp); mappings stand between guard pages.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "support/hostile_segment.hpp"

namespace {

cachee::test::HostileSegment& segment() {
  static cachee::test::HostileSegment made;
  return made;
}

}  // namespace

extern "C" {

// A finding ends the process without destructors; the segment goes even then.
void __sanitizer_set_death_callback(void (*callback)());

int LLVMFuzzerInitialize(int*, char***) {
  static_cast<void>(segment());
  __sanitizer_set_death_callback([] { segment().remove(); });
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  segment().restore();
  for (cachee::test::Decisions decisions{std::span{data, size}}; !decisions.empty();) {
    segment().apply(segment().next_damage(decisions));
  }
  if (!segment().exercise().empty()) std::abort();
  return 0;
}

}  // extern "C"
