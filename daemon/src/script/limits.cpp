#include "script/limits.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <lua.hpp>

#include "script/state.hpp"

namespace cachee::daemon {

RunLimits limits_of(const TriggerSpec& spec) noexcept {
  return {.steps = spec.steps, .memory_bytes = spec.memory_bytes, .timeout_ms = spec.timeout_ms};
}

namespace script {
namespace {

constexpr int kTracebackFrames = 16;

void hook(lua_State* lua, lua_Debug*) { state_of(lua).meter.on_hook(); }

}  // namespace

TimeNs monotonic_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return TimeNs{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void write_traceback(lua_State* lua, int level, char* out, std::size_t bytes) noexcept {
  std::size_t at = 0;
  const auto add = [&](const char* format, auto... args) {
    if (at + 1 >= bytes) return;
    const int written = std::snprintf(out + at, bytes - at, format, args...);
    if (written > 0) at = std::min(bytes - 1, at + static_cast<std::size_t>(written));
  };
  add("%s", "stack traceback:");
  lua_Debug frame{};
  for (int shown = 0; lua_getstack(lua, level, &frame) != 0; ++level, ++shown) {
    if (shown == kTracebackFrames) {
      add("%s", "\n\t...");
      return;
    }
    if (lua_getinfo(lua, "Sln", &frame) == 0) return;
    // At the bottom is the function that runs handlers, above it the handler, which is all of its source.
    lua_Debug below{};
    if (lua_getstack(lua, level + 1, &below) == 0) return;
    const bool is_handler = lua_getstack(lua, level + 2, &below) == 0;
    if (frame.currentline > 0) {
      add("\n\t%s:%d: in ", frame.short_src, frame.currentline);
    } else {
      add("\n\t%s: in ", frame.short_src);
    }
    if (is_handler) {
      add("%s", "main chunk");
    } else if (frame.name != nullptr) {
      add("%s '%s'", frame.namewhat, frame.name);
    } else {
      add("function <%s:%d>", frame.short_src, frame.linedefined);
    }
  }
}

void Meter::begin(const RunLimits& limits, TimeNs now, std::optional<std::uint64_t> code_steps) noexcept {
  limits_ = limits;
  steps_ = 0;
  uncounted_ = 0;
  steps_max_ = limits.steps;
  start_ = used_;
  peak_ = used_;
  // Garbage of earlier runs counts, but Lua collects it before a request is refused for good.
  ceiling_ = floor_ + std::min(limits.memory_bytes, kUnlimited - floor_);
  deadline_ = now + TimeNs{limits.timeout_ms} * 1'000'000;
  exceeded_ = Limit::none;
  denied_ = false;
  traceback_[0] = '\0';
  running_ = true;
  // Small budgets are counted finely enough that overrunning them stays below a tenth.
  const auto tenth = static_cast<int>(std::min<std::uint64_t>(limits.steps / 10, kHookStepsMax));
  hook_count_ = limits.exact_steps ? 1 : std::max(1, tenth);
  if (code_steps && *code_steps < static_cast<std::uint64_t>(hook_count_)) {
    clear_hook();
  } else {
    set_hook(hook_count_);
  }
}

void Meter::end() noexcept {
  running_ = false;
  ceiling_ = kUnlimited;
  steps_max_ = kUnlimited;
}

void Meter::set_hook(int count) noexcept {
  hook_count_ = count;
  lua_sethook(lua_, hook, LUA_MASKCOUNT, count);
}

void Meter::clear_hook() noexcept {
  if (lua_gethookmask(lua_) != 0) lua_sethook(lua_, nullptr, 0, 0);
}

std::string Meter::message() const {
  switch (exceeded_) {
    case Limit::steps:
      return fmt::format("instruction limit of {} exceeded (STEPS)", limits_.steps);
    case Limit::memory:
      return fmt::format("memory limit of {} bytes exceeded (MEMORY)", limits_.memory_bytes);
    case Limit::time:
      return fmt::format("time limit of {} ms exceeded (TIMEOUT)", limits_.timeout_ms);
    case Limit::none:
      break;
  }
  return {};
}

void Meter::note(Limit limit) noexcept {
  if (exceeded_ != Limit::none || !running_) return;
  exceeded_ = limit;
  write_traceback(lua_, 0, traceback_, sizeof(traceback_));
  // From now on every instruction asks, so that handlers and closers of what is being unwound stop
  // at their first one.
  set_hook(1);
}

void Meter::raise(Limit limit) {
  note(limit);
  // Lua recognises its own memory message, throws LUA_ERRMEM and calls no message handler. The
  // string exists since the state was made: pushing it takes no memory.
  lua_pushliteral(lua_, "not enough memory");
  lua_error(lua_);
  std::abort();  // lua_error does not return
}

void Meter::on_hook() {
  if (exceeded_ != Limit::none) raise(exceeded_);
  steps_ += static_cast<std::uint64_t>(hook_count_);
  check();
}

void Meter::check() {
  uncounted_ = 0;
  if (!running_) return;
  if (exceeded_ != Limit::none) raise(exceeded_);
  if (steps_ > steps_max_) raise(Limit::steps);
  if (monotonic_now() > deadline_) raise(Limit::time);
}

void Meter::take(std::size_t bytes) {
  if (would_exceed(bytes)) {
    if (exceeded_ == Limit::none) lua_gc(lua_, LUA_GCCOLLECT, 0);
    if (would_exceed(bytes)) raise(Limit::memory);
  }
  used_ += bytes;
  peak_ = std::max(peak_, used_);
}

bool Meter::allows_large_block(std::size_t bytes) noexcept {
  if (!running_) return true;
  // A loop inside the VM that no hook sees (a __call that leads to itself) still asks for memory.
  if (exceeded_ == Limit::none && monotonic_now() > deadline_) note(Limit::time);
  if (exceeded_ != Limit::none) return false;
  // One instruction on a large block may take milliseconds: the larger the blocks, the fewer
  // instructions pass between two looks at the clock.
  const auto count = static_cast<int>(kBlockBytesFine * kHookStepsMax / bytes);
  if (count < hook_count_) set_hook(std::max(1, count));
  return true;
}

void Meter::free_block(void* block, std::size_t bytes) noexcept {
  if (blocks_->owns(block)) {
    blocks_->give(block, bytes);
  } else {
    std::free(block);
  }
}

/// What realloc does. Small blocks of a run come from the region: what is loaded for good is not in its way.
void* Meter::make_block(void* block, std::size_t old_bytes, std::size_t bytes) noexcept {
  const bool own = block != nullptr && blocks_->owns(block);
  if (own && SmallBlocks::same_list(old_bytes, bytes)) return block;
  void* made = running_ && bytes <= SmallBlocks::kBlockBytesMax ? blocks_->take(bytes) : nullptr;
  if (made == nullptr) {
    if (!own) return std::realloc(block, bytes);
    made = std::malloc(bytes);
  }
  if (made == nullptr || block == nullptr) return made;
  std::memcpy(made, block, std::min(old_bytes, bytes));
  free_block(block, old_bytes);
  return made;
}

void* Meter::allocate(void* opaque, void* block, std::size_t old_bytes, std::size_t bytes) {
  auto& meter = *static_cast<Meter*>(opaque);
  if (bytes == 0) {
    if (block == nullptr) return nullptr;
    meter.free_block(block, old_bytes);
    meter.used_ -= old_bytes;
    return nullptr;
  }
  // Nearly all that runs ask for: small, new, and there.
  if (block == nullptr && bytes <= SmallBlocks::kBlockBytesMax && meter.running_ && !meter.would_exceed(bytes)) {
    if (void* const made = meter.blocks_->take(bytes)) {
      meter.denied_ = false;
      meter.used_ += bytes;
      meter.peak_ = std::max(meter.peak_, meter.used_);
      return made;
    }
  }
  return meter.change_block(block, old_bytes, bytes);
}

void* Meter::change_block(void* block, std::size_t old_bytes, std::size_t bytes) noexcept {
  const std::size_t before = block != nullptr ? old_bytes : 0;
  if (bytes > before && would_exceed(bytes - before)) {
    // Lua collects everything and asks once more; only a second refusal in a row is the end.
    if (denied_) note(Limit::memory);
    denied_ = true;
    return nullptr;
  }
  if (bytes > before && bytes >= kBlockBytesFine && !allows_large_block(bytes)) return nullptr;
  void* const made = make_block(block, old_bytes, bytes);
  if (made == nullptr) return bytes <= before ? block : nullptr;
  if (bytes > before) {
    denied_ = false;
    used_ += bytes - before;
    peak_ = std::max(peak_, used_);
  } else {
    used_ -= before - bytes;
  }
  return made;
}

}  // namespace script
}  // namespace cachee::daemon
