target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/log_chain.cpp
  ${CMAKE_CURRENT_LIST_DIR}/log_writer.cpp)
