# Writes the names of the command language as a source file, from the page that is made from the
# daemon's table of commands (and compared with it by a test):
#
#   cmake -D PAGE=daemon/doc/commands.md -D OUT=language_names.cpp -P language_names.cmake
cmake_minimum_required(VERSION 3.25)
file(READ "${PAGE}" text)
# Behind this heading tables are about other things.
string(FIND "${text}" "\n## Command files" end)
if(end EQUAL -1)
  message(FATAL_ERROR "${PAGE}: where do its commands end?")
endif()
string(SUBSTRING "${text}" 0 ${end} text)
string(REGEX MATCHALL "\n\\| `[A-Z_]+( [A-Z_]+)*" rows "${text}")
list(LENGTH rows count)
if(count LESS 50)
  message(FATAL_ERROR "${PAGE}: only ${count} commands were found")
endif()
list(TRANSFORM rows REPLACE "\n\\| `(.*)" "\"\\1\",\n")
list(JOIN rows "" literals)
file(WRITE "${OUT}" "#include \"language.hpp\"

namespace cachee::cli {

std::span<const std::string_view> page_names() {
  static constexpr std::string_view kNames[] = {
${literals}};
  return kNames;
}

}  // namespace cachee::cli
")
