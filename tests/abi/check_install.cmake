# Installs the library into an empty prefix and builds and runs two strangers against it: a CMake
# project (find_package) and a C program (pkg-config). The prefix is moved before it is used, so a
# path that was compiled into the package would be found out.
cmake_minimum_required(VERSION 3.25)
foreach(variable IN ITEMS BUILD_DIR WORK_DIR CONSUMERS README GENERATOR C_COMPILER CXX_COMPILER LIBDIR)
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
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK_DIR}")
foreach(component IN ITEMS cachee_dev cachee_runtime)
  run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/staged --component ${component})
endforeach()
set(prefix "${WORK_DIR}/moved")
file(RENAME "${WORK_DIR}/staged" "${prefix}")

# The C user, through pkg-config; -rpath because the prefix is not a system folder.
find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
run(${PKG_CONFIG} --modversion cachee)
run(${PKG_CONFIG} --cflags --libs cachee)
separate_arguments(flags UNIX_COMMAND "${output}")
run(${C_COMPILER} -std=c11 -Wall -Werror ${CONSUMERS}/pkgconfig/main.c -o ${WORK_DIR}/c_user
    ${flags} -Wl,-rpath,${prefix}/${LIBDIR})

# The C++ users, through the CMake package; one of them runs the C user on its segment.
run(${CMAKE_COMMAND} -S ${CONSUMERS}/package -B ${WORK_DIR}/package -G ${GENERATOR}
    -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_CXX_COMPILER=${CXX_COMPILER})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/package)
run(${WORK_DIR}/package/use_shm ${WORK_DIR}/c_user)
run(${WORK_DIR}/package/use_shm_shared ${WORK_DIR}/c_user)

# The C++ of the README compiles as it stands there, without a warning, in a function of a stranger.
file(READ ${README} text)
string(FIND "${text}" "\n```cpp\n" begin)
if(begin EQUAL -1)
  message(FATAL_ERROR "${README} has no C++")
endif()
math(EXPR begin "${begin} + 8")
string(SUBSTRING "${text}" ${begin} -1 text)
string(FIND "${text}" "\n```\n" end)
string(SUBSTRING "${text}" 0 ${end} text)
string(REGEX REPLACE "\n?#include [^\n]*\n" "" code "${text}")
string(REGEX MATCHALL "#include [^\n]*\n" includes "${text}")
list(JOIN includes "" includes)
file(WRITE ${WORK_DIR}/readme.cpp "#include <string>
${includes}using namespace std::chrono_literals;
int report(const cachee::Error& error);
void logout(const std::string& key, const std::string& value);
int readme();
int readme() {
${code}
return 0;
}
")
run(${CXX_COMPILER} -std=c++20 -Wall -Wextra -Wshadow -Werror -fsyntax-only -I${prefix}/include
    ${WORK_DIR}/readme.cpp)

# What is installed must be enough: each header compiles alone.
file(GLOB headers RELATIVE "${prefix}/include" "${prefix}/include/cachee/*.h*")
if(headers STREQUAL "")
  message(FATAL_ERROR "no headers were installed")
endif()
foreach(header IN LISTS headers)
  file(WRITE "${WORK_DIR}/header.cpp" "#include <${header}>\n")
  run(${CXX_COMPILER} -std=c++20 -fsyntax-only -I${prefix}/include ${WORK_DIR}/header.cpp)
endforeach()
message(STATUS "installed package works")
