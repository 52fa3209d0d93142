# libFuzzer targets; each takes the sources it fuzzes, so that nothing else need be built by clang.
# As a test each runs a few seconds over its corpus; by hand: build/fuzz/resp_fuzz corpus/resp.
if(NOT CACHEE_BUILD_FUZZ)
  return()
endif()
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "CACHEE_BUILD_FUZZ needs clang: libFuzzer is a part of it")
endif()

function(cachee_fuzz)
  cmake_parse_arguments(F "" "NAME;CORPUS" "SOURCES" ${ARGN})
  add_executable(${F_NAME} ${F_SOURCES})
  target_include_directories(${F_NAME} PRIVATE
    ${CMAKE_SOURCE_DIR}/daemon/src ${CMAKE_SOURCE_DIR}/libshm/include)
  target_compile_options(${F_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_options(${F_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${F_NAME} PRIVATE cachee_warnings cachee_instrument)
  # A copy of the corpus: what the fuzzer finds is for its owner to look at, not for the tree.
  add_test(NAME ${F_NAME} COMMAND sh -c
    "rm -rf ${F_NAME}.corpus && cp -r ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${F_CORPUS} ${F_NAME}.corpus && ./${F_NAME} -max_total_time=5 -max_len=4096 ${F_NAME}.corpus")
  set_tests_properties(${F_NAME} PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()

cachee_fuzz(NAME resp_fuzz CORPUS resp SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/resp_fuzz.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/command_text.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/resp.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/core/units.cpp)
cachee_fuzz(NAME command_text_fuzz CORPUS command_text SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/command_text_fuzz.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/command_text.cpp)
