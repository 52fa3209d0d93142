# Checks of the tree itself, and the tests of those checks.
add_test(NAME lint.tidy COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tools/lint/tidy.py)
add_test(NAME lint.tidy_test
         COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider ${CMAKE_SOURCE_DIR}/tools/lint/tidy_test.py)
set_tests_properties(lint.tidy lint.tidy_test PROPERTIES LABELS lint TIMEOUT 120)
