# The judges of histories, and what records histories for them.
add_library(cachee_linear STATIC ${CMAKE_CURRENT_LIST_DIR}/checker.cpp ${CMAKE_CURRENT_LIST_DIR}/chain.cpp)
target_include_directories(cachee_linear PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(cachee_linear PRIVATE cachee_warnings cachee_instrument)
# Millions of calls are judged: optimized in every build.
target_compile_options(cachee_linear PRIVATE -O2)

cachee_test(NAME checker_test LABEL linear LIBS cachee_linear
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/checker_test.cpp ${CMAKE_CURRENT_LIST_DIR}/chain_test.cpp)
cachee_test(NAME multiprocess_test LABEL linear TIMEOUT 3600 SOURCES ${CMAKE_CURRENT_LIST_DIR}/multiprocess_test.cpp
            LIBS cachee_linear cachee_shm)
cachee_test(NAME threads_test LABEL linear TIMEOUT 900 SOURCES ${CMAKE_CURRENT_LIST_DIR}/threads_test.cpp
            LIBS cachee_linear cachee_shm)
