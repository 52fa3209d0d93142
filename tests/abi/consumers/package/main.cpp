// Uses the installed C++ API: creates a segment, reads and writes it, and runs the program given
// as argument (the C user) with the segment's name while it is there.
#include <sys/wait.h>
#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

int run(const char* program, const std::string& segment) {
  const pid_t pid = fork();
  if (pid == 0) {
    execl(program, program, segment.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = "test-install-" + std::to_string(getpid());
  {
    auto keeper = cachee::Maintainer::create(
        {.name = name, .memory_bytes = 16u << 20, .ring_events = 256, .fresh = true});
    require(keeper.has_value(), "create");
    auto cache = cachee::Cache::open({.name = name});
    require(cache.has_value(), "open");
    require(cache->set("k", "v", {.cost = 2.0, .metadata = {{"user", "42"}}}).has_value(), "set");
    require(cache->get("k").value().bytes == "v", "get");
    require(cache->view("k").value().bytes() == "v", "view");
    require(cache->get("none").error().code == cachee::Errc::not_found, "miss");
    require(!to_string(cachee::Error{cachee::Errc::stale, 0, 0}).empty(), "to_string");
    require(cachee::segment_info(*cache).value().keys == 1, "segment_info");
    require(cachee::list_clients(*cache).has_value(), "list_clients");
    require(cachee::list_slabs(*cache).has_value(), "list_slabs");
    require(cachee::list_events(*cache, 10).value().empty(), "list_events");
    require(cachee::read_triggers(*cache).value().triggers.empty(), "read_triggers");
    require(cachee::fsck(*cache).value().findings.empty(), "fsck");
    require(!cachee::list_segments().empty(), "list_segments");
    require(cachee::glob_match("a*[x-z]?", "abzq"), "glob_match");
    require(cachee::parse_eviction_policy("lru") == cachee::EvictionPolicy::lru, "policy");
    if (argc > 1) require(run(argv[1], name) == 0, argv[1]);
  }
  require(cachee::remove_segment(name).has_value(), "remove_segment");
  std::puts("ok");
  return 0;
}
