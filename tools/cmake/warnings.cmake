# Every target of the project links this; a warning is an error.
add_library(cachee_warnings INTERFACE)
target_compile_options(cachee_warnings INTERFACE
  -Wall -Wextra -Wconversion -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Werror)
