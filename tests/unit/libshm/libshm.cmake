cachee_test(NAME cache_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/cache_test.cpp LIBS cachee_shm)
