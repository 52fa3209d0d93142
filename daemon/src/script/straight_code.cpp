// The code is read from what lua_dump() writes: header, then for each function source, lines, code,
// constants, upvalues, inner functions (ldump.c of Lua 5.4 is the only description of it).
#include "script/straight_code.hpp"

#include <cstring>
#include <string>
#include <string_view>

#include <lua.hpp>

#include "script/state.hpp"

namespace cachee::daemon::script {
namespace {

using Instruction = std::uint32_t;

// lopcodes.h of Lua 5.4: seven bits of operation; what a jump adds to the place behind it, in excess form.
enum Opcode : Instruction { kJump = 56, kForLoop = 73, kForPrepare, kGenericPrepare, kGenericCall, kGenericLoop, kClosure = 79 };
constexpr Instruction kOpcodeMask = 0x7f;
constexpr unsigned kJumpShift = 7;
constexpr Instruction kJumpZero = (Instruction{1} << 24) - 1;

/// What lua_dump() writes first on this machine, up to and with the sizes of its types.
constexpr std::string_view kHeader{"\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08", 15};
constexpr std::size_t kCheckBytes = sizeof(lua_Integer) + sizeof(lua_Number);

class Reader {
 public:
  explicit Reader(std::string_view rest) noexcept : rest_{rest} {}
  bool skip(std::size_t bytes) noexcept {
    if (rest_.size() < bytes) return false;
    rest_.remove_prefix(bytes);
    return true;
  }
  /// Seven bits a byte, the highest first; the last one is marked.
  bool take_size(std::size_t& size) noexcept {
    size = 0;
    for (int i = 0; i < 10 && !rest_.empty(); ++i) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      size = size << 7 | (byte & 0x7f);
      if ((byte & 0x80) != 0) return true;
    }
    return false;
  }
  bool take(Instruction& instruction) noexcept {
    if (rest_.size() < sizeof instruction) return false;
    std::memcpy(&instruction, rest_.data(), sizeof instruction);
    return skip(sizeof instruction);
  }

 private:
  std::string_view rest_;
};

bool may_repeat(Instruction instruction) noexcept {
  switch (instruction & kOpcodeMask) {
    case kJump:
      return instruction >> kJumpShift < kJumpZero;
    case kForLoop:
    case kForPrepare:
    case kGenericPrepare:
    case kGenericCall:
    case kGenericLoop:
    case kClosure:
      return true;
    default:
      return false;
  }
}

int append(lua_State*, const void* bytes, std::size_t count, void* out) {
  return guarded([&] { static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), count); }) ? 0 : 1;
}

}  // namespace

std::optional<std::uint64_t> steps_of_straight_code(lua_State* lua) noexcept {
  std::string dump;
  constexpr int kWithoutNames = 1;
  if (lua_dump(lua, append, &dump, kWithoutNames) != 0 || !dump.starts_with(kHeader)) return std::nullopt;
  Reader in{std::string_view{dump}.substr(kHeader.size())};
  std::size_t number = 0;
  // Count of upvalues; source, first and last line; parameters, vararg, stack.
  if (!in.skip(kCheckBytes + 1) || !in.take_size(number) || !in.take_size(number) || !in.take_size(number) || !in.skip(3)) {
    return std::nullopt;
  }
  std::size_t instructions = 0;
  if (!in.take_size(instructions)) return std::nullopt;
  for (std::size_t i = 0; i < instructions; ++i) {
    Instruction instruction = 0;
    if (!in.take(instruction) || may_repeat(instruction)) return std::nullopt;
  }
  return instructions;
}

}  // namespace cachee::daemon::script
