cachee_test(NAME config_test LABEL unit LIBS cachee_daemon_core
  SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/config_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/config_words_test.cpp)
target_compile_definitions(config_test PRIVATE CACHEE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
