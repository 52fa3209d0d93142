find_package(PkgConfig REQUIRED)
pkg_check_modules(LUA REQUIRED IMPORTED_TARGET lua5.4)
cachee_test(NAME unit_daemon_script LABEL unit LIBS cachee_daemon_core PkgConfig::LUA
            SOURCES ${CMAKE_CURRENT_LIST_DIR}/script_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/script_effects_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/script_module_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/script_straight_code_test.cpp
                    ${CMAKE_CURRENT_LIST_DIR}/script_attack_test.cpp)
target_compile_definitions(unit_daemon_script PRIVATE
  CACHEE_ATTACKS_DIR="${CMAKE_CURRENT_LIST_DIR}/attacks"
  CACHEE_SCRIPT_CASES_DIR="${CMAKE_CURRENT_LIST_DIR}/script_cases")
