# cmake --install BUILD --prefix PREFIX, by components:
#   ops          lib/libflashconvert_ops.so
#   program      bin/flashconvert, its manual page and completions
#   development  include/, the kernels as a static library, and lib/cmake/flashconvert for find_package(flashconvert)
# The tree can be moved. cpack makes a .deb and a .tar.gz of all three.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/flashconvert)

# ops
install(TARGETS flashconvert_ops EXPORT flashconvert_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ops)

# program. One RUNPATH for the build folder, for a copied pair and for an installed tree; packages and wheels have their
# own (packaging/). CMake's own exchange of it at installation would end the build folder's with an empty entry, which
# means the current folder.
file(RELATIVE_PATH to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set(FLASHCONVERT_PACKAGE_RUNPATH "$ORIGIN/${to_lib}:$ORIGIN/${to_lib}/libtorch/lib:/opt/libtorch/lib")
set_target_properties(
  flashconvert PROPERTIES BUILD_WITH_INSTALL_RPATH ON
                          INSTALL_RPATH "$ORIGIN;${LIBTORCH_LIBRARY_DIR};$ORIGIN/${to_lib};$ORIGIN/${to_lib}/libtorch/lib;/opt/libtorch/lib")
install(TARGETS flashconvert RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(FILES ${CMAKE_BINARY_DIR}/share/flashconvert.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
set(data_dir ${CMAKE_INSTALL_DATADIR})
install(FILES ${CMAKE_BINARY_DIR}/share/flashconvert.bash DESTINATION ${data_dir}/bash-completion/completions
        RENAME flashconvert COMPONENT program)
install(FILES ${CMAKE_BINARY_DIR}/share/_flashconvert DESTINATION ${data_dir}/zsh/site-functions COMPONENT program)
install(FILES ${CMAKE_BINARY_DIR}/share/flashconvert.fish DESTINATION ${data_dir}/fish/vendor_completions.d
        COMPONENT program)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${data_dir}/doc/flashconvert RENAME copyright COMPONENT program)

# development
install(DIRECTORY ${CMAKE_SOURCE_DIR}/kernels/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
target_include_directories(flashconvert_kernels_interface INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set(development_targets flashconvert_kernels_interface)
set_target_properties(flashconvert_kernels_interface PROPERTIES EXPORT_NAME kernels_interface)
if(FLASHCONVERT_CUDA)
  list(APPEND development_targets flashconvert_kernels)
  set_target_properties(flashconvert_kernels PROPERTIES EXPORT_NAME kernels)
endif()
install(TARGETS ${development_targets} EXPORT flashconvert_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT development)
install(EXPORT flashconvert_targets NAMESPACE flashconvert:: FILE flashconvertTargets.cmake DESTINATION ${package_dir}
        COMPONENT development)
configure_package_config_file(${CMAKE_SOURCE_DIR}/packaging/flashconvertConfig.cmake.in
                              ${CMAKE_BINARY_DIR}/flashconvertConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/flashconvertConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/flashconvertConfig.cmake ${CMAKE_BINARY_DIR}/flashconvertConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT development)

# cpack
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_CONTACT "the flashconvert authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "fuses the attention of TorchScript checkpoints")
set(CPACK_PACKAGE_FILE_NAME flashconvert-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_BINARY_DIR}/strip_build_paths.cmake)
configure_file(${CMAKE_SOURCE_DIR}/packaging/strip_build_paths.cmake.in ${CMAKE_BINARY_DIR}/strip_build_paths.cmake @ONLY)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
# LibTorch is in no distribution: the package looks for it in /opt/libtorch.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.34), libstdc++6 (>= 12)")
include(CPack)
