# Installs the library so that others find it: find_package(cachee) with cachee::shm (static) and
# cachee::shm_shared, and pkg-config `cachee` (shared, or static with --static).
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(CACHEE_INSTALL_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# cachee_install_library(target): `target`, `target`_shared if there is one, and the headers.
#
# Both targets are exported under their EXPORT_NAME. What they need only while they are compiled
# (warnings, Boost headers) is to be linked as $<BUILD_INTERFACE:...>, or the export would ask the
# user for it.
function(cachee_install_library target)
  set(targets ${target})
  if(TARGET ${target}_shared)
    list(APPEND targets ${target}_shared)
  endif()
  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/cachee")

  install(TARGETS ${targets} EXPORT cacheeTargets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT cachee_dev
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT cachee_runtime
            NAMELINK_COMPONENT cachee_dev
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/libshm/include/cachee"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cachee_dev
    FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
  install(EXPORT cacheeTargets NAMESPACE cachee:: DESTINATION "${package_dir}"
    COMPONENT cachee_dev)

  set(generated "${CMAKE_CURRENT_BINARY_DIR}/install")
  configure_package_config_file("${CACHEE_INSTALL_CMAKE_DIR}/cacheeConfig.cmake.in"
    "${generated}/cacheeConfig.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${generated}/cacheeConfigVersion.cmake"
    VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMajorVersion)
  install(FILES "${generated}/cacheeConfig.cmake" "${generated}/cacheeConfigVersion.cmake"
    DESTINATION "${package_dir}" COMPONENT cachee_dev)

  # Paths relative to the .pc file, so that the tree may be moved or staged.
  file(RELATIVE_PATH CACHEE_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" CACHEE_PC_PREFIX "${CACHEE_PC_PREFIX}")
  configure_file("${CACHEE_INSTALL_CMAKE_DIR}/cachee.pc.in" "${generated}/cachee.pc" @ONLY)
  install(FILES "${generated}/cachee.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT cachee_dev)
endfunction()
