// Sleep on a 32-bit word of the segment and wake sleepers, across processes (futex).
#pragma once

#include <chrono>
#include <cstdint>

#include "mem/shared.hpp"

namespace cachee::os {

/// Sleeps while the word is `seen`, at most `timeout`. May return early for no reason.
void wait_on(const mem::Shared<std::uint32_t>& word, std::uint32_t seen, std::chrono::nanoseconds timeout) noexcept;
/// Wakes everybody who sleeps on the word.
void wake_all(const mem::Shared<std::uint32_t>& word) noexcept;

}  // namespace cachee::os
