# The protocol under a scheduler of ours: libshm with a hook before each access to a shared word.
# (ThreadSanitizer knows nothing of fibers that the tests make.)
if(NOT CACHEE_SANITIZE MATCHES "thread")
  function(cachee_sim_test name timeout)
    cachee_test(NAME ${name} LABEL sim TIMEOUT ${timeout} LIBS cachee_linear cachee_shm_crash
                SOURCES ${CMAKE_CURRENT_LIST_DIR}/${name}.cpp ${CMAKE_CURRENT_LIST_DIR}/clock.cpp)
  endfunction()
  cachee_sim_test(exhaustive_test 7200)
  cachee_sim_test(random_test 7200)
endif()
