# The bindings through their outer doors: pytest on the Python package as it lies in the build tree,
# the wheel, and the examples in C.
include(${CMAKE_CURRENT_LIST_DIR}/../support/segment_holder.cmake)

if(TARGET example_get_set)
  add_test(NAME bindings_c_example
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/with_segment.sh $<TARGET_FILE:segment_holder>
            $<TARGET_FILE:example_get_set>)
  set_tests_properties(bindings_c_example PROPERTIES LABELS bindings TIMEOUT 30
    PASS_REGULAR_EXPRESSION "session:42 = {\"user\": 42} for 1800 s more")
endif()

if(NOT TARGET _cachee)
  message(STATUS "Tests of the Python module left out, as the module is")
  return()
endif()

execute_process(COMMAND ${CACHEE_PYTHON} -c "import pytest" RESULT_VARIABLE no_pytest
  ERROR_QUIET)
if(no_pytest)
  message(STATUS "Tests of the Python module left out: needs pytest (Debian: python3-pytest)")
  return()
endif()

set(python_source "${CMAKE_SOURCE_DIR}/bindings/python")
set(python_environment
  "PYTHONPATH=${CMAKE_BINARY_DIR}/bindings/python"
  "PYTHONDONTWRITEBYTECODE=1"
  "CACHEE_SEGMENT_HOLDER=$<TARGET_FILE:segment_holder>")
if(TARGET cacheed)
  list(APPEND python_environment "CACHEED=$<TARGET_FILE:cacheed>")
endif()
if(CACHEE_SANITIZE MATCHES "address|thread")
  # The interpreter is not sanitized: the runtime has to come first, and its leaks are not ours.
  string(REGEX MATCH "address|thread" sanitizer "${CACHEE_SANITIZE}")
  string(SUBSTRING "${sanitizer}" 0 1 letter)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${letter}san.so
    OUTPUT_VARIABLE runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
  list(APPEND python_environment "LD_PRELOAD=${runtime}" "ASAN_OPTIONS=detect_leaks=0")
endif()

add_test(NAME bindings_python
  COMMAND ${CACHEE_PYTHON} -m pytest -q -p no:cacheprovider ${python_source}/tests
  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
set_tests_properties(bindings_python PROPERTIES LABELS bindings TIMEOUT 600
  ENVIRONMENT "${python_environment}")

if(NOT CACHEE_SANITIZE AND NOT CACHEE_COVERAGE)
  add_test(NAME bindings_python_wheel
    COMMAND ${CMAKE_COMMAND} -D PYTHON=${CACHEE_PYTHON} -D SOURCE=${python_source}
            -D WORK_DIR=${CMAKE_CURRENT_BINARY_DIR}/wheel
            -D WITH_SEGMENT=${CMAKE_CURRENT_LIST_DIR}/with_segment.sh
            -D HOLDER=$<TARGET_FILE:segment_holder>
            -P ${CMAKE_CURRENT_LIST_DIR}/check_wheel.cmake)
  set_tests_properties(bindings_python_wheel PROPERTIES LABELS bindings TIMEOUT 900)
endif()
