cachee_test(NAME spool_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/spool_test.cpp LIBS cachee_daemon_core)
cachee_test(NAME figures_test LABEL unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/figures_test.cpp LIBS cachee_daemon_core)
cachee_test(NAME dispatcher_test LABEL unit TIMEOUT 300
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/executor_or_tests_main.cpp ${CMAKE_CURRENT_LIST_DIR}/dispatcher_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_wait_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_effects_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../../support/disk_gate.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_backlog_test.cpp ${CMAKE_CURRENT_LIST_DIR}/dispatcher_charge_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_duplicate_test.cpp ${CMAKE_CURRENT_LIST_DIR}/dispatcher_watchdog_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_backoff_test.cpp ${CMAKE_CURRENT_LIST_DIR}/dispatcher_aside_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_change_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/dispatcher_refused_test.cpp
            LIBS cachee_daemon_core)
cachee_test(NAME dispatcher_kill_test LABEL unit
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/executor_or_tests_main.cpp ${CMAKE_CURRENT_LIST_DIR}/dispatcher_kill_test.cpp LIBS cachee_daemon_core)
target_link_options(dispatcher_kill_test PRIVATE
  "LINKER:--wrap=_ZN6cachee10Maintainer11acknowledgeENS_8EventSeqEb"
  "LINKER:--wrap=_ZN6cachee10Maintainer15release_throughEmSt4spanIKNS0_5DeltaELm18446744073709551615EE")
cachee_test(NAME hostile_trigger_test LABEL unit TIMEOUT 300
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/executor_or_tests_main.cpp ${CMAKE_CURRENT_LIST_DIR}/hostile_trigger_test.cpp LIBS cachee_daemon_core)
target_compile_definitions(hostile_trigger_test PRIVATE CACHEE_ATTACKS_DIR="${CMAKE_CURRENT_LIST_DIR}/attacks")
