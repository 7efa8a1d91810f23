# flashconvert_runs_on(TARGET SYSTEM): links it so that systems older than the one that builds it can load it; SYSTEM is a
# name as Python's wheels have it, manylinux_2_28 for glibc 2.28 and GCC 8's libstdc++ (cmake/old_systems/SYSTEM.txt).
#
# A library that changes a function gives it a new version and keeps the old one for programs that were linked before. The
# linker binds to the newest that it finds, so it is shown libraries first that have the old version alone; nothing of them
# but their names is in the result. What did not exist then, a target has to bring along (lib/runtime/older_systems.cpp).

# flashconvert_old_library(FOLDER SONAME LINES...): a shared library of empty functions, each LINE a version and symbols.
function(flashconvert_old_library folder soname)
  set(file ${CMAKE_BINARY_DIR}/${folder}/${soname})
  foreach(line IN LISTS ARGN)
    string(REGEX REPLACE " +" ";" symbols "${line}")
    list(POP_FRONT symbols version)
    list(APPEND versions ${version})
    foreach(symbol IN LISTS symbols)
      string(APPEND functions "extern \"C\" void ${symbol}() {}\n")
      string(APPEND symbols_of_${version} " ${symbol};")
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES versions)
  foreach(version IN LISTS versions)
    string(APPEND map "${version} {${symbols_of_${version}} };\n")
  endforeach()
  file(CONFIGURE OUTPUT ${file}.cpp CONTENT "${functions}")
  file(CONFIGURE OUTPUT ${file}.map CONTENT "${map}")
  add_library(${folder}_${soname} SHARED ${file}.cpp)
  target_link_options(${folder}_${soname} PRIVATE -nostdlib -Wl,--version-script=${file}.map -Wl,-soname,${soname})
  set_target_properties(
    ${folder}_${soname} PROPERTIES PREFIX "" SUFFIX ".names" OUTPUT_NAME ${soname} NO_SONAME ON
                                   LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${folder})
endfunction()

function(flashconvert_runs_on target system)
  if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")  # the versions in the lists are those of x86-64
    return()
  endif()
  file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/old_systems/${system}.txt lines REGEX "^lib")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "^([^ ]+) +(.*)$" matched "${line}")
    set(soname ${CMAKE_MATCH_1})
    list(APPEND sonames ${soname})
    list(APPEND lines_of_${soname} "${CMAKE_MATCH_2}")
  endforeach()
  list(REMOVE_DUPLICATES sonames)
  foreach(soname IN LISTS sonames)
    flashconvert_old_library(${system} ${soname} ${lines_of_${soname}})
    add_dependencies(${target} ${system}_${soname})
    # As files: what is installed knows nothing of them.
    list(APPEND libraries $<TARGET_FILE:${system}_${soname}>)
  endforeach()
  target_link_libraries(${target} PRIVATE -Wl,--push-state,--no-as-needed ${libraries} -Wl,--pop-state)
endfunction()
