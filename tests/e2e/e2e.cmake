# The whole product through its outer doors: real processes, sockets, files and kills (pytest).
if(TARGET cacheed AND TARGET cachee)
  add_executable(e2e_load_client ${CMAKE_CURRENT_LIST_DIR}/load_client.cpp)
  target_link_libraries(e2e_load_client PRIVATE cachee_shm cachee_warnings cachee_instrument)
  add_executable(e2e_group_client ${CMAKE_CURRENT_LIST_DIR}/group_client.cpp)
  target_link_libraries(e2e_group_client PRIVATE cachee_shm cachee_warnings cachee_instrument)
  add_executable(e2e_group_client_c ${CMAKE_CURRENT_LIST_DIR}/group_client.c)
  set_target_properties(e2e_group_client_c PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF LINKER_LANGUAGE CXX)
  target_compile_options(e2e_group_client_c PRIVATE -Wall -Wextra -Wpedantic -Werror)
  target_link_libraries(e2e_group_client_c PRIVATE cachee_shm cachee_instrument)

  set(example)
  if(TARGET example_subscribe)
    set(example ";CACHEE_EXAMPLE_SUBSCRIBE=$<TARGET_FILE:example_subscribe>")
  endif()

  # Debian's interpreter, whatever the PATH says: pytest comes as a Debian package.
  foreach(suite IN ITEMS scenarios delivery groups kill storm chaos messages triggers registry metrics redis lifecycle upkeep clock)
    add_test(NAME e2e.${suite}
             COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider --durations=3
                     ${CMAKE_CURRENT_LIST_DIR}/${suite}_test.py)
    set_tests_properties(e2e.${suite} PROPERTIES LABELS e2e TIMEOUT 300 ENVIRONMENT
      "CACHEED=$<TARGET_FILE:cacheed>;CACHEE=$<TARGET_FILE:cachee>;CACHEE_LOAD_CLIENT=$<TARGET_FILE:e2e_load_client>;CACHEE_GROUP_CLIENT=$<TARGET_FILE:e2e_group_client>;CACHEE_GROUP_CLIENT_C=$<TARGET_FILE:e2e_group_client_c>;PYTHONDONTWRITEBYTECODE=1${example}")
  endforeach()
  set_tests_properties(e2e.storm PROPERTIES TIMEOUT 1500)  # ten minutes, and the drain
endif()
