target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/cache_reader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/cachee_module.cpp
  ${CMAKE_CURRENT_LIST_DIR}/data_event.cpp
  ${CMAKE_CURRENT_LIST_DIR}/effects.cpp
  ${CMAKE_CURRENT_LIST_DIR}/event_object.cpp
  ${CMAKE_CURRENT_LIST_DIR}/json.cpp
  ${CMAKE_CURRENT_LIST_DIR}/limits.cpp
  ${CMAKE_CURRENT_LIST_DIR}/overlay.cpp
  ${CMAKE_CURRENT_LIST_DIR}/pattern.cpp
  ${CMAKE_CURRENT_LIST_DIR}/runtime.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sandbox.cpp
  ${CMAKE_CURRENT_LIST_DIR}/straight_code.cpp
  ${CMAKE_CURRENT_LIST_DIR}/string_lib.cpp
  ${CMAKE_CURRENT_LIST_DIR}/table_lib.cpp
  ${CMAKE_CURRENT_LIST_DIR}/view_event.cpp)
