// Words for the public enumerations.
#include <cerrno>
#include <cstring>

#include <cachee/maintain.hpp>
#include <cachee/result.hpp>
#include <cachee/segment_name.hpp>
#include <cachee/types.hpp>
#include <cachee/version.hpp>

#include "base/refusal.hpp"

namespace cachee {

namespace {

/// What follows "invalid argument".
std::string broken_rule_text(const Error& error) {
  const std::string limit = std::to_string(base::rule_limit(error));
  switch (base::broken_rule(error)) {
    case base::Rule::key_bytes: return ": a key has at most " + limit + " bytes";
    case base::Rule::value_bytes: return ": a value of this segment has at most " + limit + " bytes (cacheed --max-value)";
    case base::Rule::fields: return ": a key has at most " + limit + " metadata fields";
    case base::Rule::parents: return ": a key depends on at most " + limit + " others";
    case base::Rule::extra_bytes: return ": metadata and dependencies of a key take at most " + limit + " bytes";
    case base::Rule::cost: return ": a cost is a positive, finite number";
    case base::Rule::own_parent: return ": a key cannot depend on itself";
    case base::Rule::segment_name: return std::string{": a segment's name is "}.append(kSegmentNameRule);
    case base::Rule::unnamed: break;
  }
  return {};
}

}  // namespace

const char* to_string(Errc code) noexcept {
  switch (code) {
    case Errc::ok: return "ok";
    case Errc::not_found: return "not_found";
    case Errc::exists: return "exists";
    case Errc::stale: return "stale";
    case Errc::full: return "full";
    case Errc::lapped: return "lapped";
    case Errc::would_block: return "would_block";
    case Errc::timed_out: return "timed_out";
    case Errc::not_a_number: return "not_a_number";
    case Errc::overflow: return "overflow";
    case Errc::no_space: return "no_space";
    case Errc::io: return "io";
    case Errc::permission: return "permission";
    case Errc::busy: return "busy";
    case Errc::unsupported: return "unsupported";
    case Errc::no_supervisor: return "no_supervisor";
    case Errc::no_segment: return "no_segment";
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::layout_mismatch: return "layout_mismatch";
    case Errc::corrupt: return "corrupt";
    case Errc::closed: return "closed";
    case Errc::read_only: return "read_only";
  }
  return "unknown";
}

std::string to_string(const Error& error) {
  std::string text;
  switch (error.code) {
    case Errc::ok: text = "ok"; break;
    case Errc::not_found: text = "no such key"; break;
    case Errc::exists: text = "the key exists already"; break;
    case Errc::stale: text = "the key has another version"; break;
    case Errc::full: text = "the event ring is full (backpressure); nothing was applied"; break;
    case Errc::lapped: text = "the event was released already"; break;
    case Errc::would_block: text = "not now"; break;
    case Errc::timed_out: text = "the time limit passed"; break;
    case Errc::not_a_number: text = "the value is not an integer"; break;
    case Errc::overflow: text = "the result does not fit 64 bits"; break;
    case Errc::no_space: text = "no memory left in the segment or in /dev/shm"; break;
    case Errc::io: text = "an operating system call failed"; break;
    case Errc::permission: text = "no permission"; break;
    case Errc::busy: text = "taken by another process or thread"; break;
    case Errc::unsupported: text = "not supported here"; break;
    case Errc::no_supervisor: text = "no supervisor: start cacheed"; break;
    case Errc::no_segment: text = "no such segment: start cacheed"; break;
    case Errc::invalid_argument: text = "invalid argument" + broken_rule_text(error); break;
    case Errc::layout_mismatch:
      text = "the segment has layout " + std::to_string(error.detail >> 32) + "." +
             std::to_string(error.detail & 0xffffffffu) + ", this library has " + std::to_string(kLayoutMajor) + "." +
             std::to_string(kLayoutMinor) + " (or was built otherwise)";
      break;
    case Errc::corrupt: text = "the segment is damaged at offset " + std::to_string(error.detail); break;
    case Errc::closed: text = "the handle is closed, or belongs to the parent of this process"; break;
    case Errc::read_only: text = "the handle is read-only"; break;
  }
  if (error.os_errno != 0) text.append(": ").append(std::strerror(error.os_errno));
  return text;
}

const char* to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::write: return "write";
    case EventKind::del: return "delete";
    case EventKind::expire: return "expire";
    case EventKind::evict: return "evict";
    case EventKind::read: return "read";
    case EventKind::gap: return "gap";
    case EventKind::none: break;
  }
  return "none";
}

const char* event_name(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::write: return "ON_WRITE";
    case EventKind::del: return "ON_DELETE";
    case EventKind::expire: return "ON_EXPIRE";
    case EventKind::evict: return "ON_EVICT";
    case EventKind::read: return "ON_READ";
    case EventKind::gap:
    case EventKind::none: break;
  }
  return "NONE";
}

const char* to_string(Cause cause) noexcept {
  switch (cause) {
    case Cause::explicit_: return "explicit";
    case Cause::invalidate: return "invalidate";
    case Cause::flush: return "flush";
    case Cause::cascade: return "cascade";
    case Cause::cdc: return "cdc";
    case Cause::coherence: return "coherence";
    case Cause::trigger: return "trigger";
    case Cause::create: return "create";
    case Cause::update: return "update";
    case Cause::ttl: return "ttl";
    case Cause::capacity: return "capacity";
    case Cause::hit: return "hit";
    case Cause::shed: return "shed";
    case Cause::unknown: break;
  }
  return "unknown";
}

const char* to_string(Role role) noexcept {
  switch (role) {
    case Role::sweep: return "sweep";
    case Role::trigger: return "trigger";
    case Role::cascade: return "cascade";
    case Role::cdc: return "cdc";
    case Role::coherence: return "coherence";
    case Role::control: return "control";
    case Role::client: break;
  }
  return "client";
}

const char* to_string(EvictionPolicy policy) noexcept {
  switch (policy) {
    case EvictionPolicy::none: return "none";
    case EvictionPolicy::balanced: return "balanced";
    case EvictionPolicy::lru: return "lru";
    case EvictionPolicy::cost: return "cost";
  }
  return "balanced";
}

std::optional<EvictionPolicy> parse_eviction_policy(std::string_view text) noexcept {
  for (const auto policy : {EvictionPolicy::none, EvictionPolicy::balanced, EvictionPolicy::lru, EvictionPolicy::cost}) {
    if (text == to_string(policy)) return policy;
  }
  return std::nullopt;
}

}  // namespace cachee
