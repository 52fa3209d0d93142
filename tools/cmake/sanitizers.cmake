# CACHEE_SANITIZE and CACHEE_COVERAGE reach every target through cachee_instrument.
add_library(cachee_instrument INTERFACE)
if(CACHEE_SANITIZE)
  target_compile_options(cachee_instrument INTERFACE
    -fsanitize=${CACHEE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(cachee_instrument INTERFACE -fsanitize=${CACHEE_SANITIZE})
  if(CACHEE_SANITIZE MATCHES "undefined")
    # The check of an object's type opens a pipe, which an executor's jail does not let it, and then finds each type wrong.
    target_compile_options(cachee_instrument INTERFACE -fno-sanitize=vptr)
  endif()
  if(CACHEE_SANITIZE MATCHES "thread")
    # Fences are not modelled by TSan; the payload is copied by atomic words, so this is safe to mute.
    target_compile_options(cachee_instrument INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  endif()
endif()
if(CACHEE_COVERAGE)
  target_compile_options(cachee_instrument INTERFACE --coverage -O0)
  target_link_options(cachee_instrument INTERFACE --coverage)
endif()
