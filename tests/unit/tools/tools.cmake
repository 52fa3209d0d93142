# Tests of the cachee command: its pure parts, and the program as a process.
if(TARGET cachee)
  set(tools_dir ${CMAKE_CURRENT_LIST_DIR})
  cachee_test(NAME tools_parts_test LABEL unit LIBS cachee_cli_core
    SOURCES ${tools_dir}/text_test.cpp ${tools_dir}/output_test.cpp ${tools_dir}/histogram_test.cpp
            ${tools_dir}/dump_line_test.cpp ${tools_dir}/top_frame_test.cpp)
  cachee_test(NAME tools_command_test LABEL unit LIBS cachee_cli_core util
    SOURCES ${tools_dir}/command_test.cpp ${tools_dir}/commands_file_test.cpp
            ${tools_dir}/prompt_test.cpp ${tools_dir}/supervisor_test.cpp)
  cachee_test(NAME tools_segment_test LABEL unit LIBS cachee_cli_core util
    SOURCES ${tools_dir}/segment_test.cpp)
  foreach(test IN ITEMS tools_command_test tools_segment_test)
    target_compile_definitions(${test} PRIVATE
      CACHEE_PROGRAM="$<TARGET_FILE:cachee>" CACHEE_DOC_DIR="$<TARGET_FILE_DIR:cachee>/doc")
    add_dependencies(${test} cachee cachee_docs)
  endforeach()

  # The page and the completions in the tree are what the help makes of them today; after a change
  # of a command: cmake --build <build> --target cachee_docs_update.
  foreach(file IN ITEMS cachee.1 cachee.bash _cachee)
    add_test(NAME tools.doc.${file}
             COMMAND ${CMAKE_COMMAND} -E compare_files $<TARGET_FILE_DIR:cachee>/doc/${file}
                     ${tools_dir}/../../../tools/cachee/doc/${file})
    set_tests_properties(tools.doc.${file} PROPERTIES LABELS unit TIMEOUT 30)
  endforeach()
endif()
