target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/admin.cpp
  ${CMAKE_CURRENT_LIST_DIR}/appliers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/backlog.cpp
  ${CMAKE_CURRENT_LIST_DIR}/carry_out.cpp
  ${CMAKE_CURRENT_LIST_DIR}/dispatcher.cpp
  ${CMAKE_CURRENT_LIST_DIR}/examiner.cpp
  ${CMAKE_CURRENT_LIST_DIR}/groups.cpp
  ${CMAKE_CURRENT_LIST_DIR}/registry.cpp
  ${CMAKE_CURRENT_LIST_DIR}/spool.cpp
  ${CMAKE_CURRENT_LIST_DIR}/aside.cpp
  ${CMAKE_CURRENT_LIST_DIR}/workers.cpp)
