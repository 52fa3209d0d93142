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

# libshm for fuzzing: its branches are seen by libFuzzer, and it gives up after few retries.
add_library(cachee_shm_fuzz STATIC)
get_filename_component(fuzz_tree ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
get_target_property(fuzz_sources cachee_shm SOURCES)
list(TRANSFORM fuzz_sources PREPEND ${fuzz_tree}/libshm/)
target_sources(cachee_shm_fuzz PRIVATE ${fuzz_sources})
target_include_directories(cachee_shm_fuzz PUBLIC ${fuzz_tree}/libshm/include ${fuzz_tree}/libshm/src ${fuzz_tree}/tests
                                           PRIVATE ${Boost_INCLUDE_DIRS})
target_compile_definitions(cachee_shm_fuzz PUBLIC CACHEE_SMALL_BOUNDS)
target_compile_options(cachee_shm_fuzz PRIVATE -fsanitize=fuzzer-no-link)
target_link_libraries(cachee_shm_fuzz PUBLIC Threads::Threads PRIVATE cachee_warnings cachee_instrument)

foreach(target IN ITEMS segment attach pattern extension)
  set(sources ${CMAKE_CURRENT_LIST_DIR}/${target}_fuzz.cpp)
  if(target STREQUAL segment)
    list(APPEND sources ${fuzz_tree}/tests/support/guarded_map.cpp)
  endif()
  cachee_fuzz(NAME ${target}_fuzz CORPUS ${target} SOURCES ${sources})
  target_link_libraries(${target}_fuzz PRIVATE cachee_shm_fuzz)
endforeach()
target_link_options(segment_fuzz PRIVATE LINKER:--wrap=mmap,--wrap=munmap)

cachee_fuzz(NAME wire_fuzz CORPUS wire SOURCES ${CMAKE_CURRENT_LIST_DIR}/wire_fuzz.cpp)
target_link_libraries(wire_fuzz PRIVATE cachee_shm_fuzz)
cachee_fuzz(NAME resp_fuzz CORPUS resp SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/resp_fuzz.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/command_text.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/resp.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/core/units.cpp)
cachee_fuzz(NAME command_text_fuzz CORPUS command_text SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/command_text_fuzz.cpp
  ${CMAKE_SOURCE_DIR}/daemon/src/control/command_text.cpp)
