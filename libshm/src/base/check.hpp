// Checks of this process's own rules. What the segment breaks is Errc::corrupt, never an abort.
#pragma once

namespace cachee::base {
[[noreturn]] void check_failed(const char* file, int line, const char* expression) noexcept;
}

#define CACHEE_CHECK(expression) \
  ((expression) ? void(0) : ::cachee::base::check_failed(__FILE__, __LINE__, #expression))
