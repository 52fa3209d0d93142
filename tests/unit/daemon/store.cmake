cachee_test(NAME event_data_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/event_data_test.cpp LIBS cachee_daemon_core)
