# The protocol under a scheduler of ours: libshm with a hook before each access to a shared word.
function(cachee_sim_test name)
  cachee_test(NAME ${name} LABEL sim TIMEOUT 7200 LIBS cachee_linear cachee_shm_crash
              SOURCES ${CMAKE_CURRENT_LIST_DIR}/${name}.cpp ${ARGN})
endfunction()

# ThreadSanitizer knows nothing of fibers that the tests make.
if(NOT CACHEE_SANITIZE MATCHES "thread")
  cachee_sim_test(exhaustive_test ${CMAKE_CURRENT_LIST_DIR}/clock.cpp)
  cachee_sim_test(random_test ${CMAKE_CURRENT_LIST_DIR}/clock.cpp)
endif()
cachee_sim_test(perturb_test)
