#include "executor/rehearsal.hpp"

#include <utility>

namespace cachee::daemon {
namespace {

// What nearly every handler does.
constexpr const char* kSource = "local key, value, now = event.key, event.value, cachee.now()";
constexpr const char* kKey = "rehearsal:000001";
constexpr std::size_t kValueBytes = 64;

TriggerSpec rehearsed() {
  TriggerSpec spec;
  spec.name = "rehearsal";
  spec.source = kSource;
  return spec;
}

}  // namespace

Rehearsal::Rehearsal(const Runtime& runtime) : runtime_{runtime}, script_{runtime.load(rehearsed()).script} {
  event_.kind = EventKind::write;
  event_.key = kKey;
  event_.value.assign(kValueBytes, 'v');
}

bool Rehearsal::run(TimeNs now) {
  return script_ != nullptr && runtime_.run(*script_, DataEvent{event_}, RunLimits{}, now).ok;
}

}  // namespace cachee::daemon
