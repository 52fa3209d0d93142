#include "script/runtime.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "script/state.hpp"
#include "script/straight_code.hpp"

namespace cachee::daemon {

using script::Meter;
using script::State;

namespace {

// Fixed places at the bottom of every state's stack.
enum Place : int { kFieldsIndex = 1, kEventIndex, kModuleIndex, kRunIndex, kErrorIndex, kHandlerIndex, kEnvironmentIndex };

// A source that compiles alone is compiled once more, as the body of a function: a parameter is read in one step, a
// name of the environment in many, and each run gets an environment whatever the one before did to its `_ENV`.
// The second form is for a source that names its (empty) arguments; it costs more to call.
constexpr std::string_view kFunctions[] = {"return function(_ENV, event, cachee) ",
                                           "return function(_ENV, event, cachee, ...) "};
constexpr std::string_view kEnd = "\nend";  // the last line may be a comment
constexpr int kArguments = 3;
constexpr int kInstalled = kRunIndex;  // how much of it the sandbox is
constexpr int kFieldsUpvalue = 1;      // of the function that runs the handler

constexpr std::uint64_t kCompileBytesMax = std::uint64_t{64} << 20;
constexpr std::uint64_t kGarbageBytesKept = std::uint64_t{512} << 10;
// A run leaves little alive, so a collection costs about as much as marking the libraries: let
// garbage grow to a multiple of them in between.
constexpr int kGcPausePercent = 300;
constexpr int kGcStepMultiplier = 400;

/// Message handler of every run: keeps message and traceback while the stack is still there.
int on_error(lua_State* lua) {
  State& state = script::state_of(lua);
  lua_settop(lua, 1);
  const char* text = nullptr;
  std::size_t bytes = 0;
  if (lua_isstring(lua, 1) != 0 || luaL_getmetafield(lua, 1, "__tostring") != LUA_TNIL) {
    lua_settop(lua, 1);
    script::push_text(lua, 1);
    text = lua_tolstring(lua, -1, &bytes);
  } else {
    text = lua_pushfstring(lua, "error object is a %s value", luaL_typename(lua, 1));
    bytes = lua_rawlen(lua, -1);
  }
  char traceback[2048];
  script::write_traceback(lua, 1, traceback, sizeof(traceback));
  const bool kept = script::guarded([&] {
    state.error.assign(text, std::min(bytes, kErrorBytesMax));
    state.traceback = traceback;
  });
  if (!kept) state.error.clear();
  return 1;
}

/// Called with the handler and its arguments, protected: making fields may raise an error.
int run_handler(lua_State* lua) {
  script::begin_event(lua, lua_upvalueindex(kFieldsUpvalue));
  lua_call(lua, kArguments, 0);
  return 0;
}

int install(lua_State* lua) {
  script::install_sandbox(lua);
  lua_pushvalue(lua, kFieldsIndex);
  lua_pushcclosure(lua, run_handler, kFieldsUpvalue);
  return kInstalled;
}

/// Hands the compiler a source piece by piece.
struct Pieces {
  std::array<std::string_view, 3> all;
  std::size_t next = 0;
};
const char* next_piece(lua_State*, void* opaque, std::size_t* bytes) {
  auto& pieces = *static_cast<Pieces*>(opaque);
  while (pieces.next < pieces.all.size() && pieces.all[pieces.next].empty()) ++pieces.next;
  const std::string_view piece = pieces.next < pieces.all.size() ? pieces.all[pieces.next++] : std::string_view{};
  *bytes = piece.size();
  return piece.data();
}

/// Pushes the compiled text or the error message.
int compile(lua_State* lua, const std::string& chunk_name, const std::array<std::string_view, 3>& text) {
  Pieces pieces{text};
  return lua_load(lua, next_piece, &pieces, chunk_name.c_str(), "t");
}

/// Pushes the handler that a source is, or the error message.
int compile_handler(lua_State* lua, const std::string& name, std::string_view source) {
  const std::string chunk_name = "=" + name;
  int status = compile(lua, chunk_name, {source});
  if (status != LUA_OK) return status;
  for (const std::string_view function : kFunctions) {
    lua_pop(lua, 1);
    status = compile(lua, chunk_name, {function, source, kEnd});
    if (status == LUA_OK) return lua_pcall(lua, 0, 1, 0);
  }
  return status;
}

bool is_word_char(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/// Also in text and comments, which costs nobody a handler: they have a few in a hundred words.
std::size_t count_branch_words(std::string_view source) noexcept {
  constexpr std::string_view kWords[] = {"goto", "break", "and", "or", "elseif"};
  std::size_t count = 0;
  for (std::size_t at = 0; at < source.size();) {
    std::size_t end = at;
    while (end < source.size() && is_word_char(source[end])) ++end;
    if (end == at) {
      const bool label = source.substr(at).starts_with("::");
      count += label ? 1 : 0;
      at += label ? 2 : 1;
      continue;
    }
    count += static_cast<std::size_t>(std::count(std::begin(kWords), std::end(kWords), source.substr(at, end - at)));
    at = end;
  }
  return count;
}

int new_environment(lua_State* lua) {
  script::push_environment(lua);
  return 1;
}

}  // namespace

struct Script::Impl {
  std::shared_ptr<script::SmallBlocks> blocks{};
  State state{};
  std::string source{};
  std::optional<std::uint64_t> steps_max{};  // of a chunk that cannot loop

  ~Impl() { close(); }

  void close() noexcept {
    if (state.lua != nullptr) lua_close(state.lua);
    state.lua = nullptr;
  }

  /// A new state with the source compiled in it; the message when that fails.
  std::optional<std::string> open(std::uint64_t memory_bytes) {
    close();
    state.fields_made = state.fields_wanted = state.runs_watched = 0;
    state.env_dirty = false;
    state.text.reset();
    state.lua = lua_newstate(Meter::allocate, &state.meter);
    if (state.lua == nullptr) return "not enough memory for a Lua state";
    *static_cast<State**>(lua_getextraspace(state.lua)) = &state;
    state.meter.attach(state.lua);
    lua_State* const lua = state.lua;
    lua_gc(lua, LUA_GCSTOP);
    lua_pushcfunction(lua, install);
    if (lua_pcall(lua, 0, kInstalled, 0) != LUA_OK) return take_message("cannot make a sandbox: ");
    lua_pushcfunction(lua, on_error);

    // Compilation has a memory bound of its own; it runs no code.
    state.meter.set_floor();
    state.meter.begin({.steps = ~std::uint64_t{0},
                       .memory_bytes = memory_bytes,
                       .timeout_ms = ~std::uint32_t{0},
                       .exact_steps = false},
                      script::monotonic_now());
    const int status = compile_handler(lua, state.trigger_name, source);
    state.meter.end();
    if (status != LUA_OK) return take_message("");
    steps_max = script::steps_of_straight_code(lua);
    lua_pushcfunction(lua, new_environment);
    if (lua_pcall(lua, 0, 1, 0) != LUA_OK) return take_message("");
    lua_gc(lua, LUA_GCRESTART);
    lua_gc(lua, LUA_GCCOLLECT);
    lua_gc(lua, LUA_GCINC, kGcPausePercent, kGcStepMultiplier, 0);
    state.meter.set_floor();
    return std::nullopt;
  }

  std::string take_message(std::string_view prefix) {
    const char* const text = lua_tostring(state.lua, -1);
    std::string message{prefix};
    message += text != nullptr ? text : "unknown error";
    return message;
  }

  /// Nothing of the run stays: neither globals nor what the event object kept, nor large memory.
  void clean_up() noexcept {
    end_event(state, kFieldsIndex);
    if (state.env_dirty) {
      state.env_dirty = false;
      lua_pushcfunction(state.lua, new_environment);
      if (lua_pcall(state.lua, 0, 1, 0) != LUA_OK) {
        close();
        return;
      }
      lua_replace(state.lua, kEnvironmentIndex);
    }
    state.text.reset();
    if (state.meter.used_above_floor() > kGarbageBytesKept) lua_gc(state.lua, LUA_GCCOLLECT);
  }

  /// All but the encoded effects, which the caller reads.
  void forget_buffers() noexcept {
    state.overlay.clear();
    state.overlay_held.release();
    script::forget_effect(state);
    script::forget(state.json_keys);
    state.json_held.release();
    state.metadata.clear();
  }
};

Script::Script(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Script::~Script() = default;

Runtime::Loaded Runtime::load(const TriggerSpec& spec) const {
  Loaded loaded;
  auto impl = std::make_unique<Script::Impl>();
  impl->blocks = blocks_;
  impl->state.meter.use_blocks(*blocks_);
  impl->state.cache = &cache_;
  impl->state.trigger_name = spec.name;
  impl->source = spec.source;
  if (auto error = impl->open(kCompileBytesMax)) {
    loaded.error = std::move(*error);
  } else {
    loaded.script.reset(new Script{std::move(impl)});
  }
  return loaded;
}

RunResult Runtime::run(Script& script, const EventSource& event, const RunLimits& limits) const {
  return run(script, event, limits, script::monotonic_now());
}

RunResult Runtime::run(Script& script, const EventSource& event, const RunLimits& limits,
                       TimeNs now) const {
  Script::Impl& impl = *script.impl_;
  State& state = impl.state;
  RunResult result;
  state.effects.reset();  // before a state that is made anew takes the floor
  if (state.lua == nullptr) {
    if (auto error = impl.open(kCompileBytesMax)) {
      impl.close();
      result.error = std::move(*error);
      return result;
    }
  }
  state.effects_count = 0;
  state.error.clear();
  state.traceback.clear();
  state.event = &event;

  state.meter.begin(limits, now, impl.steps_max);
  for (const int place : {kRunIndex, kHandlerIndex, kEnvironmentIndex, kEventIndex, kModuleIndex}) {
    lua_pushvalue(state.lua, place);
  }
  const int status = lua_pcall(state.lua, 1 + kArguments, 0, kErrorIndex);
  if (status == LUA_ERRMEM) state.meter.note(Limit::memory);
  state.meter.end();

  result.exceeded = state.meter.exceeded();
  result.ok = status == LUA_OK && result.exceeded == Limit::none;
  result.steps = state.meter.steps();
  result.memory_peak = state.meter.peak();
  if (result.ok) {
    result.effects = state.effects.since(0);
    impl.clean_up();
  } else if (result.exceeded != Limit::none) {
    // What a run did that was cut off anywhere is not trusted: the state is made anew.
    result.error = state.meter.message();
    result.traceback = state.meter.traceback();
    impl.close();
    state.event = nullptr;
  } else {
    result.error = std::move(state.error);
    result.traceback = std::move(state.traceback);
    if (result.error.empty()) result.error = impl.take_message("");
    lua_settop(state.lua, kEnvironmentIndex);
    impl.clean_up();
  }
  impl.forget_buffers();
  result.run_ns = static_cast<std::uint64_t>(script::monotonic_now() - now);
  return result;
}

std::optional<std::string> Runtime::check(std::string_view name, std::string_view source) {
  if (source.size() > kTriggerSourceBytesMax) {
    return "source of " + std::to_string(source.size()) + " bytes is longer than " +
           std::to_string(kTriggerSourceBytesMax);
  }
  if (const std::size_t words = count_branch_words(source); words > kBranchWordsMax) {
    return "source with " + std::to_string(words) + " of `goto break and or elseif ::`, more than " + std::to_string(kBranchWordsMax);
  }
  EmptyCacheReader cache;
  TriggerSpec spec;
  spec.name = name;
  spec.source = source;
  auto loaded = Runtime{cache}.load(spec);
  if (loaded.script) return std::nullopt;
  return std::move(loaded.error);
}

}  // namespace cachee::daemon
