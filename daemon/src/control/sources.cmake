target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/command_text.cpp
  ${CMAKE_CURRENT_LIST_DIR}/resp.cpp)
