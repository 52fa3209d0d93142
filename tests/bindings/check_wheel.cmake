# Builds the wheel without a network, unpacks it into an empty folder and uses it from there.
cmake_minimum_required(VERSION 3.25)
foreach(variable IN ITEMS PYTHON SOURCE WORK_DIR WITH_SEGMENT HOLDER)
  if(NOT DEFINED ${variable})
    message(FATAL_ERROR "-D ${variable}=... is missing")
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "exit ${status}: ${command}\n${output}")
  endif()
endfunction()

execute_process(COMMAND ${PYTHON} -c "import setuptools, wheel" RESULT_VARIABLE missing
  ERROR_QUIET)
execute_process(COMMAND ${PYTHON} -m pip --version RESULT_VARIABLE missing_pip
  OUTPUT_QUIET ERROR_QUIET)
if(missing OR missing_pip)
  message(FATAL_ERROR "needs pip, setuptools and wheel "
    "(Debian: python3-pip python3-setuptools python3-wheel)")
endif()

file(REMOVE_RECURSE "${WORK_DIR}")
# A build folder of its own: the source tree stays clean.
set(ENV{TMPDIR} "${WORK_DIR}/tmp")
file(MAKE_DIRECTORY "${WORK_DIR}/tmp")
file(WRITE "${WORK_DIR}/build.cfg"
  "[build]\nbuild_base=${WORK_DIR}/build\n[egg_info]\negg_base=${WORK_DIR}/tmp\n")
set(ENV{DIST_EXTRA_CONFIG} "${WORK_DIR}/build.cfg")
run(${PYTHON} -m pip wheel --no-build-isolation --no-deps --no-index -w ${WORK_DIR}/dist ${SOURCE})
file(GLOB wheels "${WORK_DIR}/dist/cachee-*.whl")
list(LENGTH wheels count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "one wheel was expected in ${WORK_DIR}/dist, not ${count}")
endif()
run(${PYTHON} -m zipfile -e ${wheels} ${WORK_DIR}/site)

foreach(file IN ITEMS py.typed _cachee.pyi __init__.py)
  if(NOT EXISTS "${WORK_DIR}/site/cachee/${file}")
    message(FATAL_ERROR "the wheel has no cachee/${file}")
  endif()
endforeach()
file(WRITE "${WORK_DIR}/use.py" [[
import sys
import cachee
with cachee.Cache(sys.argv[1]) as cache:
    cache["k"] = b"v"
    assert cache["k"] == b"v" and cachee.__file__.startswith(sys.path[1])
]])
set(ENV{PYTHONPATH} "${WORK_DIR}/site")
run(${WITH_SEGMENT} ${HOLDER} ${PYTHON} ${WORK_DIR}/use.py)
message(STATUS "${wheels} works")
