cachee_test(NAME control_test LABEL unit LIBS cachee_daemon_core
  SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/control_command_text_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/control_group_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/control_redis_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/control_resp_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/control_server_test.cpp)
set_target_properties(control_test PROPERTIES UNITY_BUILD OFF)  # one of its files has a word for Outcome itself
target_compile_definitions(control_test PRIVATE CACHEE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
