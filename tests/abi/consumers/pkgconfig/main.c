/* A C program that knows nothing of Cachee but what pkg-config says. Usage: main SEGMENT */
#include <cachee/cachee.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  cachee_open_options options = cachee_open_options_default();
  cachee_cache* cache = NULL;
  cachee_status status;
  void* value = NULL;
  size_t bytes = 0;
  if (argc != 2) return 2;
  options.name = argv[1];
  options.name_bytes = strlen(argv[1]);
  status = cachee_open(&options, &cache);
  if (status == CACHEE_OK) status = cachee_set(cache, "from C", 6, "value", 5, NULL, NULL);
  if (status == CACHEE_OK) status = cachee_get(cache, "from C", 6, &value, &bytes, NULL);
  if (status != CACHEE_OK) {
    fprintf(stderr, "%s\n", cachee_strerror(status));
    return 1;
  }
  status = bytes == 5 && memcmp(value, "value", 5) == 0 ? 0 : 1;
  cachee_free(value);
  cachee_close(cache);
  return status;
}
