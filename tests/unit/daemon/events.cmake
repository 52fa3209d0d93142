cachee_test(NAME dispatcher_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/dispatcher_test.cpp LIBS cachee_daemon_core)
