// cachee: the command line of Cachee. What it can do is the table in command_line.cpp.
#include <clocale>
#include <csignal>
#include <string>
#include <vector>

#include "command_line.hpp"

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");   // the prompt edits UTF-8
  std::signal(SIGPIPE, SIG_IGN);  // a supervisor that goes away is an error with a name
  return cachee::cli::run_command_line(
      std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
