# What `cmake --install` puts where: the library with its headers, CMake package and layerwise.pc, the command, the recipes.
add_library(layerwise::layerwise ALIAS layerwise)

install(TARGETS layerwise EXPORT layerwise-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS layerwise_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/layerwise DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/tools/recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/layerwise/recipes OPTIONAL
        FILES_MATCHING PATTERN "*.yaml")

set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/layerwise)
install(EXPORT layerwise-targets NAMESPACE layerwise:: DESTINATION ${package_directory})
configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/layerwise-config.cmake.in layerwise-config.cmake
  INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(layerwise-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/layerwise-config.cmake ${PROJECT_BINARY_DIR}/layerwise-config-version.cmake
        DESTINATION ${package_directory})

# layerwise.pc finds its prefix from its own place, so that a tree may be installed anywhere and moved.
file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH libdir_from_prefix ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH includedir_from_prefix ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/tools/layerwise.pc.in layerwise.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/layerwise.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
