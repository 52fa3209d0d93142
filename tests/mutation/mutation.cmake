# Planted bugs that the deterministic tests must see (gate.py). The quickest few in every run, all of
# them with the preset "mutation". It asks Ninja how the tests are linked.
if(TARGET cachee_shm_steps AND CMAKE_GENERATOR STREQUAL "Ninja")
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  set(mutation_gate ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/gate.py --build ${CMAKE_BINARY_DIR})
  add_test(NAME mutation_quick_test COMMAND ${mutation_gate} --quick)
  add_test(NAME mutation_long_test COMMAND ${mutation_gate} CONFIGURATIONS long)
  set_tests_properties(mutation_quick_test PROPERTIES LABELS mutation TIMEOUT 900)
  set_tests_properties(mutation_long_test PROPERTIES LABELS mutation TIMEOUT 3600)
endif()
