cachee_test(NAME event_data_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/event_data_test.cpp LIBS cachee_daemon_core)
cachee_test(NAME store_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/store_effect_rules_test.cpp ${CMAKE_CURRENT_LIST_DIR}/store_group_test.cpp
            LIBS cachee_daemon_core)
cachee_test(NAME compliance_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/compliance_test.cpp LIBS cachee_daemon_core)
cachee_test(NAME webhook_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/webhook_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/webhook_rules_test.cpp
            LIBS cachee_daemon_core)
cachee_test(NAME store_kill_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_kill_test.cpp LIBS cachee_daemon_core)
cachee_test(NAME store_cost_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_cost_test.cpp LIBS cachee_daemon_core)
