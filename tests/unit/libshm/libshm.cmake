cachee_test(NAME cache_test LABEL unit LIBS cachee_shm
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/cache_test.cpp ${CMAKE_CURRENT_LIST_DIR}/clock_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../../support/stepped_clock.cpp)
cachee_test(NAME counter_clock_test LABEL unit LIBS cachee_shm
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/counter_clock_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../../support/stepped_clock.cpp)
target_include_directories(counter_clock_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)
cachee_test(NAME probe_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/probe_test.cpp LIBS cachee_shm)
target_include_directories(probe_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)
cachee_test(NAME wire_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/wire_test.cpp LIBS cachee_shm)
target_include_directories(wire_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)

set(shm_tree ${CMAKE_CURRENT_LIST_DIR}/../../..)

# Tests that damage segments give up after few retries instead of a million (base/bounds.hpp): these
# objects stand in for the library's own.
add_library(cachee_shm_small_bounds OBJECT
  ${shm_tree}/libshm/src/keyspace/get.cpp ${shm_tree}/libshm/src/keyspace/set.cpp
  ${shm_tree}/libshm/src/ring/ring.cpp ${shm_tree}/libshm/src/triggers/table.cpp)
target_include_directories(cachee_shm_small_bounds PRIVATE ${shm_tree}/libshm/include ${shm_tree}/libshm/src)
target_compile_definitions(cachee_shm_small_bounds PRIVATE CACHEE_SMALL_BOUNDS)
target_link_libraries(cachee_shm_small_bounds PRIVATE cachee_warnings cachee_instrument)

cachee_test(NAME hostile_bytes_test LABEL unit TIMEOUT 300 LIBS cachee_shm_small_bounds cachee_shm SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/hostile_bytes_test.cpp ${shm_tree}/tests/support/guarded_map.cpp)
target_include_directories(hostile_bytes_test PRIVATE ${shm_tree}/libshm/src)
target_link_options(hostile_bytes_test PRIVATE LINKER:--wrap=mmap,--wrap=munmap)

cachee_test(NAME fsck_test LABEL unit TIMEOUT 300 LIBS cachee_shm SOURCES ${CMAKE_CURRENT_LIST_DIR}/fsck_test.cpp)
target_include_directories(fsck_test PRIVATE ${shm_tree}/libshm/src)

cachee_test(NAME damaged_segment_test LABEL unit LIBS cachee_shm_small_bounds cachee_shm SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/damaged_segment_test.cpp ${shm_tree}/tests/support/guarded_map.cpp)
target_include_directories(damaged_segment_test PRIVATE ${shm_tree}/libshm/src)
target_link_options(damaged_segment_test PRIVATE LINKER:--wrap=mmap,--wrap=munmap)

foreach(name IN ITEMS capacity census copy full_segment invariants limits processes provenance scan)
  cachee_test(NAME ${name}_test LABEL unit TIMEOUT 300 LIBS cachee_shm SOURCES ${CMAKE_CURRENT_LIST_DIR}/${name}_test.cpp)
  target_include_directories(${name}_test PRIVATE ${shm_tree}/libshm/src)
endforeach()
cachee_test(NAME eviction_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/eviction_test.cpp LIBS cachee_shm)
target_include_directories(eviction_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)  # scores and the sampler are internals
cachee_test(NAME room_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/room_test.cpp LIBS cachee_shm)
target_include_directories(room_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)  # the calibration is an internal
cachee_test(NAME expiry_wait_test LABEL unit LIBS cachee_shm SOURCES ${CMAKE_CURRENT_LIST_DIR}/expiry_wait_test.cpp)
target_include_directories(expiry_wait_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)  # it stands in for other sweepers
cachee_test(NAME expiry_test LABEL unit TIMEOUT 600 LIBS cachee_shm  # a million steps of a model
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/expiry_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../../support/stepped_clock.cpp)
target_include_directories(expiry_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)  # it counts the sweep's visits
