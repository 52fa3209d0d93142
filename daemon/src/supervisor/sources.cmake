target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/notify.cpp
  ${CMAKE_CURRENT_LIST_DIR}/priority.cpp
  ${CMAKE_CURRENT_LIST_DIR}/trigger_folder.cpp
  ${CMAKE_CURRENT_LIST_DIR}/upkeep.cpp)
