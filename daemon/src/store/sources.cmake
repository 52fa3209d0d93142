target_sources(cachee_daemon_core PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/account.cpp
  ${CMAKE_CURRENT_LIST_DIR}/batch.cpp
  ${CMAKE_CURRENT_LIST_DIR}/dead_letters.cpp
  ${CMAKE_CURRENT_LIST_DIR}/effect_rules.cpp
  ${CMAKE_CURRENT_LIST_DIR}/effects_ledger.cpp
  ${CMAKE_CURRENT_LIST_DIR}/log_rows.cpp
  ${CMAKE_CURRENT_LIST_DIR}/migrations.cpp
  ${CMAKE_CURRENT_LIST_DIR}/outbox.cpp
  ${CMAKE_CURRENT_LIST_DIR}/runs.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sqlite.cpp
  ${CMAKE_CURRENT_LIST_DIR}/store.cpp
  ${CMAKE_CURRENT_LIST_DIR}/trigger_rows.cpp)
