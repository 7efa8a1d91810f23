# The wheels hold what a release build made; nothing is compiled twice. FLASHCONVERT_BUILD names the build folder.
set(FLASHCONVERT_ROOT ${CMAKE_CURRENT_LIST_DIR}/../..)
set(FLASHCONVERT_BUILD ${FLASHCONVERT_ROOT}/build/release CACHE PATH "A finished build (scripts/build)")
find_program(STRIP strip REQUIRED)

# flashconvert_from_build(FILE FOLDER RUNPATH): FILE of the build goes into FOLDER of the wheel, without debug symbols. An
# empty RUNPATH: the file has none.
function(flashconvert_from_build file folder runpath)
  if(NOT EXISTS ${FLASHCONVERT_BUILD}/${file})
    message(FATAL_ERROR "${FLASHCONVERT_BUILD}/${file} is missing. Run scripts/package, which builds it first.")
  endif()
  install(PROGRAMS ${FLASHCONVERT_BUILD}/${file} DESTINATION ${folder})
  set(installed "\${CMAKE_INSTALL_PREFIX}/${folder}/${file}")
  if(runpath)
    install(CODE "file(RPATH_SET FILE \"${installed}\" NEW_RPATH [[${runpath}]])")
  endif()
  install(CODE "execute_process(COMMAND ${STRIP} --strip-unneeded \"${installed}\" COMMAND_ERROR_IS_FATAL ANY)")
endfunction()

install(FILES ${FLASHCONVERT_ROOT}/LICENSE DESTINATION ${SKBUILD_METADATA_DIR}/licenses)
