# Every target of the project links this; a warning is an error.
#
# -Wno-restrict: at -O3 g++ 12 sees overlapping copies in std::string's operator+ that are none
# (GCC bug 105651).
add_library(cachee_warnings INTERFACE)
target_compile_options(cachee_warnings INTERFACE
  -Wall -Wextra -Wconversion -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
