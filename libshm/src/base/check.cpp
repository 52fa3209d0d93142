#include "base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace cachee::base {

void check_failed(const char* file, int line, const char* expression) noexcept {
  std::fprintf(stderr, "cachee: %s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace cachee::base
