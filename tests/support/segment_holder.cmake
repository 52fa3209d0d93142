include_guard(GLOBAL)
# A program that keeps a segment alive for tests in other languages.
add_executable(segment_holder ${CMAKE_CURRENT_LIST_DIR}/segment_holder.cpp)
target_link_libraries(segment_holder PRIVATE cachee_shm cachee_warnings cachee_instrument)
