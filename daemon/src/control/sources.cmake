target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/command_text.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/call.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/connection.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/graph.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/info.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/keys.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/reference.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/server.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/set.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/strings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/table.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/time.cpp
  ${CMAKE_CURRENT_LIST_DIR}/commands/triggers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/helpers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/listener.cpp
  ${CMAKE_CURRENT_LIST_DIR}/resp.cpp
  ${CMAKE_CURRENT_LIST_DIR}/socket.cpp)
