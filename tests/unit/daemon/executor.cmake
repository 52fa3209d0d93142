cachee_test(NAME unit_daemon_executor LABEL unit LIBS cachee_daemon_core
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/executor_or_tests_main.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/executor_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/executor_channel_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/executor_jail_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/executor_messages_test.cpp)
target_compile_definitions(unit_daemon_executor PRIVATE
  CACHEE_ATTACKS_DIR="${CMAKE_CURRENT_LIST_DIR}/attacks")
