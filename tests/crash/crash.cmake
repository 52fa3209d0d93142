# libshm once more, with crash points and with hooks before every access to a shared word: tests
# kill, stop and interrupt there.
get_filename_component(crash_tree ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
add_library(cachee_shm_crash STATIC)
get_target_property(crash_sources cachee_shm SOURCES)
list(TRANSFORM crash_sources PREPEND ${crash_tree}/libshm/)
target_sources(cachee_shm_crash PRIVATE ${crash_sources})
target_include_directories(cachee_shm_crash PUBLIC ${crash_tree}/libshm/include ${crash_tree}/libshm/src
                                            PRIVATE ${Boost_INCLUDE_DIRS})
target_compile_definitions(cachee_shm_crash PUBLIC CACHEE_CRASH_POINTS CACHEE_MODEL)
target_link_libraries(cachee_shm_crash PUBLIC Threads::Threads PRIVATE cachee_warnings cachee_instrument)

function(cachee_crash_test name timeout)
  cachee_test(NAME ${name} LABEL crash TIMEOUT ${timeout} LIBS cachee_shm_crash
              SOURCES ${crash_tree}/tests/crash/${name}.cpp)
  # Operations are judged by their effects, not by what they return.
  target_compile_options(${name} PRIVATE -Wno-unused-result)
endfunction()

cachee_crash_test(kill_points_test 300)
cachee_crash_test(double_kill_test 300)
cachee_crash_test(slow_client_test 60)
