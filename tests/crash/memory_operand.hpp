// Which memory the next x86-64 instruction may touch. Decodes no more than that: prefixes, opcode
// map, ModRM, SIB, displacement. Whoever uses it compares the whole segment now and then, so an
// instruction that is overlooked fails a test instead of hiding a state.
#pragma once

#include <cstdint>
#include <cstring>

#include <sys/user.h>

// A system call instruction and a trap behind it: where a stopped child can be made to fork.
extern "C" const char cachee_test_system_call;
asm(".text\n.globl cachee_test_system_call\ncachee_test_system_call:\n  syscall\n  int3\n.previous\n");

namespace cachee::test {

struct Operand {
  std::uint64_t addresses[2] = {};  // 0: none
  bool is_system_call = false;
};

namespace detail {

inline std::uint64_t register_value(const user_regs_struct& r, unsigned number) {
  const unsigned long long* const order[] = {&r.rax, &r.rcx, &r.rdx, &r.rbx, &r.rsp, &r.rbp, &r.rsi, &r.rdi,
                                             &r.r8,  &r.r9,  &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15};
  return *order[number & 15];
}

inline bool has_modrm(std::uint8_t op) {
  if (op < 0x40) return (op & 7) < 4;
  return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) || op == 0xc0 || op == 0xc1 ||
         op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 ||
         op == 0xf7 || op == 0xfe || op == 0xff;
}
inline bool two_byte_has_modrm(std::uint8_t op) {
  const bool bare = (op >= 0x05 && op <= 0x0b) || op == 0x0e || (op >= 0x30 && op <= 0x37) || op == 0x77 ||
                    (op >= 0x80 && op <= 0x8f) || (op >= 0xa0 && op <= 0xa2) || (op >= 0xa8 && op <= 0xaa) ||
                    (op >= 0xc8 && op <= 0xcf);
  return !bare;
}

}  // namespace detail

/// The child is a fork of this process: its code stands here at the same addresses.
inline Operand memory_operand(const user_regs_struct& r) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(r.rip);
  Operand out;
  unsigned rex = 0;
  for (;; ++at) {
    const bool prefix = *at == 0x66 || *at == 0x67 || *at == 0xf0 || *at == 0xf2 || *at == 0xf3 || *at == 0x2e ||
                        *at == 0x36 || *at == 0x3e || *at == 0x26;
    if (*at == 0x64 || *at == 0x65) return out;  // of the thread's own storage
    if (!prefix) break;
  }
  if ((*at & 0xf0) == 0x40) rex = *at++ & 0xf;
  unsigned scale = 1;  // of an 8-bit displacement
  bool modrm = true;
  if (*at == 0x62) {  // EVEX
    rex = (~at[1] >> 5 & 3u);  // B, X
    scale = 16u << (at[3] >> 5 & 3u);
    at += 5;
  } else if (*at == 0xc5) {  // VEX
    at += 3;
  } else if (*at == 0xc4) {
    rex = (~at[1] >> 5 & 3u);
    at += 4;
  } else if (*at == 0x0f) {
    ++at;
    if (*at == 0x38 || *at == 0x3a) {
      at += 2;
    } else {
      out.is_system_call = *at == 0x05;
      modrm = detail::two_byte_has_modrm(*at++);
    }
  } else {
    const std::uint8_t op = *at++;
    if ((op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf)) {  // string instructions
      out.addresses[0] = r.rdi;
      out.addresses[1] = r.rsi;
      return out;
    }
    if (op >= 0xa0 && op <= 0xa3) {
      std::memcpy(&out.addresses[0], at, sizeof(std::uint64_t));
      return out;
    }
    modrm = detail::has_modrm(op);
  }
  if (!modrm) return out;
  const unsigned mod = *at >> 6;
  const unsigned rm = *at & 7u;
  ++at;
  if (mod == 3 || (mod == 0 && rm == 5)) return out;  // a register, or relative to the code
  std::uint64_t address = 0;
  bool wide_base = false;
  if (rm == 4) {
    const unsigned sib = *at++;
    const unsigned index = (sib >> 3 & 7u) | (rex & 2u) << 2;
    const unsigned base = (sib & 7u) | (rex & 1u) << 3;
    wide_base = mod == 0 && (sib & 7u) == 5;
    if (!wide_base) address = detail::register_value(r, base);
    if (index != 4) address += detail::register_value(r, index) << (sib >> 6);
  } else {
    address = detail::register_value(r, rm | (rex & 1u) << 3);
  }
  if (mod == 1) {
    address += static_cast<std::uint64_t>(static_cast<std::int8_t>(*at) * static_cast<std::int64_t>(scale));
  } else if (mod == 2 || wide_base) {
    std::int32_t displacement = 0;
    std::memcpy(&displacement, at, sizeof displacement);
    address += static_cast<std::uint64_t>(static_cast<std::int64_t>(displacement));
  }
  out.addresses[0] = address;
  return out;
}

}  // namespace cachee::test
