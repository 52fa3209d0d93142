target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/address.cpp
  ${CMAKE_CURRENT_LIST_DIR}/base64.cpp
  ${CMAKE_CURRENT_LIST_DIR}/clock_watch.cpp
  ${CMAKE_CURRENT_LIST_DIR}/dependencies.cpp
  ${CMAKE_CURRENT_LIST_DIR}/event_data.cpp
  ${CMAKE_CURRENT_LIST_DIR}/event_json.cpp
  ${CMAKE_CURRENT_LIST_DIR}/log.cpp
  ${CMAKE_CURRENT_LIST_DIR}/runner.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sha256.cpp
  ${CMAKE_CURRENT_LIST_DIR}/trigger_options.cpp
  ${CMAKE_CURRENT_LIST_DIR}/units.cpp)
