# Models of the protocols (spin), and what they cannot see: memory orders on this machine, and the errors that
# they found, on the real code.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME spin_models COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/run.py)
set_tests_properties(spin_models PROPERTIES LABELS model TIMEOUT 900 PROCESSORS 2)
# The long form: ctest -C long, or the preset "models-long".
add_test(NAME spin_models_long COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/run.py --long CONFIGURATIONS long)
set_tests_properties(spin_models_long PROPERTIES LABELS model TIMEOUT 86400 PROCESSORS 2)

add_test(NAME weak_memory_models COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/weak.py)
set_tests_properties(weak_memory_models PROPERTIES LABELS model TIMEOUT 300)

cachee_test(NAME litmus_test LABEL model SOURCES ${CMAKE_CURRENT_LIST_DIR}/litmus_test.cpp LIBS cachee_shm)
target_include_directories(litmus_test PRIVATE ${CMAKE_SOURCE_DIR}/libshm/src)
# Optimized in every build: unoptimized calls between a store and a load give the store time to be seen.
target_compile_options(litmus_test PRIVATE -O2)
set_tests_properties(litmus_test PROPERTIES PROCESSORS 2)
cachee_test(NAME full_ring_test LABEL model SOURCES ${CMAKE_CURRENT_LIST_DIR}/full_ring_test.cpp LIBS cachee_shm_crash)
