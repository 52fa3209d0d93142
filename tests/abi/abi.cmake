# The C ABI as C programs see it, and the installed package as other projects find it.
include(${CMAKE_CURRENT_LIST_DIR}/../support/segment_holder.cmake)

# Strict C11 against the shared library: what a stranger's compiler and linker would see.
add_executable(use_from_c ${CMAKE_CURRENT_LIST_DIR}/use_from_c.c
                          ${CMAKE_CURRENT_LIST_DIR}/c_layout.c)
set_target_properties(use_from_c PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
target_compile_options(use_from_c PRIVATE -Wall -Wextra -Wpedantic -Werror)
target_link_libraries(use_from_c PRIVATE cachee_shm_shared cachee_instrument)
add_test(NAME use_from_c COMMAND use_from_c $<TARGET_FILE:segment_holder>)
set_tests_properties(use_from_c PROPERTIES LABELS abi TIMEOUT 60)

add_test(NAME abi_symbols
  COMMAND ${CMAKE_COMMAND} -D NM=${CMAKE_NM} -D LIBRARY=$<TARGET_FILE:cachee_shm_shared>
          -D EXPECTED=${CMAKE_CURRENT_LIST_DIR}/symbols.txt
          -P ${CMAKE_CURRENT_LIST_DIR}/check_symbols.cmake)
set_tests_properties(abi_symbols PROPERTIES LABELS abi TIMEOUT 30)

# A sanitized library wants a sanitized user; the package is checked without.
if(NOT CACHEE_SANITIZE AND NOT CACHEE_COVERAGE)
  add_test(NAME abi_install
    COMMAND ${CMAKE_COMMAND} -D BUILD_DIR=${CMAKE_BINARY_DIR}
            -D WORK_DIR=${CMAKE_CURRENT_BINARY_DIR}/abi_install
            -D CONSUMERS=${CMAKE_CURRENT_LIST_DIR}/consumers
            -D README=${CMAKE_CURRENT_LIST_DIR}/../../README.md
            -D GENERATOR=${CMAKE_GENERATOR}
            -D C_COMPILER=${CMAKE_C_COMPILER} -D CXX_COMPILER=${CMAKE_CXX_COMPILER}
            -D LIBDIR=${CMAKE_INSTALL_LIBDIR}
            -P ${CMAKE_CURRENT_LIST_DIR}/check_install.cmake)
  set_tests_properties(abi_install PROPERTIES LABELS abi TIMEOUT 300)
endif()
