# libshm once more, with crash points and with hooks before every access to a shared word: tests
# kill, stop and interrupt there.
get_filename_component(crash_tree ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
get_target_property(crash_sources cachee_shm SOURCES)
list(TRANSFORM crash_sources PREPEND ${crash_tree}/libshm/)
function(cachee_shm_for_tests target)
  add_library(${target} STATIC ${crash_sources})
  target_include_directories(${target} PUBLIC ${crash_tree}/libshm/include ${crash_tree}/libshm/src
                                       PRIVATE ${Boost_INCLUDE_DIRS})
  target_link_libraries(${target} PUBLIC Threads::Threads PRIVATE cachee_warnings cachee_instrument)
endfunction()
cachee_shm_for_tests(cachee_shm_crash)
target_compile_definitions(cachee_shm_crash PUBLIC CACHEE_CRASH_POINTS CACHEE_MODEL)

function(cachee_crash_test name timeout library)
  cachee_test(NAME ${name} LABEL crash TIMEOUT ${timeout} LIBS ${library}
              SOURCES ${crash_tree}/tests/crash/${name}.cpp)
  # Operations are judged by their effects, not by what they return.
  target_compile_options(${name} PRIVATE -Wno-unused-result)
endfunction()

cachee_crash_test(kill_points_test 300 cachee_shm_crash)
cachee_crash_test(double_kill_test 300 cachee_shm_crash)
cachee_crash_test(slow_client_test 60 cachee_shm_crash)

# And once as it ships, optimized and without hooks, to be run by the instruction. The stepper knows
# x86-64 only; instrumented code would take hours.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND NOT CACHEE_SANITIZE AND NOT CACHEE_COVERAGE)
  cachee_shm_for_tests(cachee_shm_steps)
  target_compile_options(cachee_shm_steps PRIVATE -O2)
  target_compile_definitions(cachee_shm_steps PRIVATE NDEBUG)
  foreach(test IN ITEMS snapshot_test double_step_test stop_test stop_deadline_test
               stop_two_test stop_scarce_test)
    cachee_crash_test(${test} 900 cachee_shm_steps)  # seconds of CPU; a busy machine takes its time
    target_compile_options(${test} PRIVATE -O1)
    # The long form: ctest -C long, or the preset "crash".
    string(REPLACE "_test" "_long_test" long ${test})
    add_test(NAME ${long} COMMAND ${test} CONFIGURATIONS long)
    set_tests_properties(${long} PROPERTIES LABELS crash TIMEOUT 7200
      ENVIRONMENT "CACHEE_STEP_STRIDE=1;CACHEE_DOUBLE_STEP_STRIDE=1;CACHEE_STOP_STRIDE=1;CACHEE_TWO_STRIDE=7;CACHEE_SCARCE_STRIDE=20")
  endforeach()
endif()
