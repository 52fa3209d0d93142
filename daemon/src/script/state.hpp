// State: one Lua state with everything its functions reach, for the files of this folder only.
//
// Rule of this folder: Lua raises errors by longjmp, so no object with a destructor is alive in a
// frame that calls a function of Lua that may raise. Text is built in the state's own buffers, and
// what may throw runs inside guarded(), which returns before anything is raised.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lua.hpp>

#include "script/effects.hpp"
#include "script/event_source.hpp"
#include "script/limits.hpp"
#include "script/overlay.hpp"

namespace cachee::daemon {

class CacheReader;

namespace script {

[[nodiscard]] TimeNs monotonic_now() noexcept;

/// Text under construction, counted against the run's memory. Nested users append above each other
/// and cut back to their mark; an error that is caught cuts back to the mark of the catcher.
class TextBuffer {
 public:
  /// @param keep_bytes  memory up to this outlives a reset(): the next run need not ask for it again
  TextBuffer(Meter& meter, std::size_t keep_bytes) noexcept : meter_{meter}, keep_bytes_{keep_bytes} {}
  TextBuffer(const TextBuffer&) = delete;
  TextBuffer& operator=(const TextBuffer&) = delete;
  ~TextBuffer();

  [[nodiscard]] std::size_t mark() const noexcept { return size_; }
  void cut(std::size_t mark) noexcept { size_ = mark; }
  /// Raises a Lua error when the run's memory is spent.
  void append(const char* text, std::size_t bytes) {
    if (bytes == 0) return;
    if (capacity_ - size_ < bytes) grow(bytes);
    __builtin_memcpy(data_ + size_, text, bytes);
    size_ += bytes;
  }
  void append(std::string_view text) { append(text.data(), text.size()); }
  void append(char c) { append(&c, 1); }
  /// What is there already, without asking for more.
  [[nodiscard]] std::span<char> room() const noexcept { return {data_ + size_, capacity_ - size_}; }
  /// Room for `bytes` more, to be written by the caller and then taken with commit().
  [[nodiscard]] char* reserve(std::size_t bytes) {
    if (capacity_ - size_ < bytes) grow(bytes);
    return data_ + size_;
  }
  void commit(std::size_t bytes) noexcept { size_ += bytes; }
  [[nodiscard]] std::string_view since(std::size_t mark) const noexcept {
    return {data_ + mark, size_ - mark};
  }
  /// Pushes what was appended since the mark as a Lua string and cuts back.
  void push(lua_State* lua, std::size_t mark) {
    lua_pushlstring(lua, data_ + mark, size_ - mark);
    size_ = mark;
    if (mark == 0 && capacity_ > keep_bytes_) reset();
  }
  /// Forgets the text; large memory is given back.
  void reset() noexcept;

 private:
  void grow(std::size_t bytes);

  Meter& meter_;
  std::size_t keep_bytes_;
  char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// What buffers of ours that are no TextBuffer hold, counted against the run's memory.
class Held {
 public:
  explicit Held(Meter& meter) noexcept : meter_{meter} {}
  /// Before the buffer grows. Raises a Lua error when the run's memory is spent.
  void add(std::size_t bytes) {
    meter_.take(bytes);
    bytes_ += bytes;
  }
  void release() noexcept {
    meter_.give_back(bytes_);
    bytes_ = 0;
  }

 private:
  Meter& meter_;
  std::size_t bytes_ = 0;
};

/// Empties a buffer; large memory is given back.
template <class T>
void forget(T& buffer) noexcept {
  constexpr std::size_t kKeepBytes = 4096;
  if (buffer.capacity() * sizeof(typename T::value_type) > kKeepBytes) {
    buffer = T{};
  } else {
    buffer.clear();
  }
}

/// One key of a table that is being encoded as JSON.
struct JsonKey {
  const char* text;
  std::size_t bytes;
  lua_Integer number;  // when text is null
};

struct State {
  static constexpr std::size_t kTextBytesKept = std::size_t{64} << 10;
  static constexpr std::size_t kEffectsBytesKept = std::size_t{4} << 10;
  State() : text{meter, kTextBytesKept}, effects{meter, kEffectsBytesKept}, effect_held{meter}, overlay_held{meter}, json_held{meter} {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  lua_State* lua = nullptr;
  Meter meter{};
  TextBuffer text;
  CacheReader* cache = nullptr;
  std::string trigger_name{};

  // Of the run that is going on.
  const EventSource* event = nullptr;
  static constexpr std::size_t kEventFieldsMax = 32;
  const char* event_fields[kEventFieldsMax] = {};  // names as this state's strings, see event_object.cpp
  const void* event_object = nullptr;  // where it is, to know it by
  unsigned fields_made = 0;            // of the event, by bit: they are in the table of the fields
  unsigned fields_wanted = 0;          // read by the runs before
  unsigned runs_watched = 0;
  bool env_dirty = false;     // globals were assigned
  TextBuffer effects;         // encoded
  std::size_t effects_count = 0;
  Held effect_held;           // by `effect`
  Held overlay_held;          // by `overlay`
  Held json_held;             // by `json_keys`
  Overlay overlay{};
  std::string error{};
  std::string traceback{};

  // Buffers that functions fill inside guarded() and read afterwards.
  Effect effect{};
  std::string bytes{};  // ids and names: short
  MetadataViews metadata{};
  std::vector<JsonKey> json_keys{};
};

[[nodiscard]] inline State& state_of(lua_State* lua) noexcept {
  return **static_cast<State**>(lua_getextraspace(lua));
}

/// Runs what may throw; false when it did. Never raises a Lua error.
template <class Body>
[[nodiscard]] bool guarded(Body&& body) noexcept {
  try {
    body();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

inline void charge(lua_State* lua, std::uint64_t steps) { state_of(lua).meter.charge(steps); }
/// Work of a plain pass over bytes, in steps.
[[nodiscard]] constexpr std::uint64_t copy_steps(std::size_t bytes) noexcept {
  return 1 + (bytes >> 8);
}
[[nodiscard]] constexpr std::uint64_t byte_steps(std::size_t bytes) noexcept {
  return 1 + (bytes >> 4);
}

[[nodiscard]] inline std::string_view view_at(lua_State* lua, int index) noexcept {
  std::size_t bytes = 0;
  const char* text = lua_tolstring(lua, index, &bytes);
  return {text, bytes};
}

// sandbox.cpp
/// Installs everything in a new state; pushes the table of the event's fields, the event object and `cachee`.
void install_sandbox(lua_State* lua);
/// Pushes a fresh environment: an empty table in front of the shared read-only names.
void push_environment(lua_State* lua);
/// Refuses tables that are shared with later runs; notes writes to the globals.
void check_writable(lua_State* lua, int index);
/// Replaces the table on top by what pairs() needs to walk it without handing it out.
void push_walker(lua_State* lua);
/// Replaces the table on top by a read-only face of it.
void make_read_only(lua_State* lua, const char* name);
/// Pushes the text of a value as tostring() gives it; addresses are not shown.
void push_text(lua_State* lua, int index);

// One file each; every function pushes one table.
void push_string_library(lua_State* lua);
void push_table_library(lua_State* lua);
void push_cachee_module(lua_State* lua);
/// Empties the effect that is being made.
void forget_effect(State& state) noexcept;
/// Pushes the table of the event's fields and the event object.
void push_event_object(lua_State* lua);
/// Pushes a plain table with every field of the event.
void push_event_table(lua_State* lua);
/// True for the event object itself.
[[nodiscard]] bool is_event_object(lua_State* lua, int index) noexcept;
/// Makes the fields that runs of this trigger read; `fields` is where their table is on the stack.
void begin_event(lua_State* lua, int fields);
/// Lets go of the event and of what is long.
void end_event(State& state, int fields) noexcept;

// json.cpp
/// Appends the value as JSON to the state's text. Raises for what JSON has no form for.
void json_append(lua_State* lua, int index);
int json_encode(lua_State* lua);
int json_decode(lua_State* lua);

}  // namespace script
}  // namespace cachee::daemon
