cachee_test(NAME cache_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/cache_test.cpp LIBS cachee_shm)
cachee_test(NAME probe_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/probe_test.cpp LIBS cachee_shm)
target_include_directories(probe_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)
