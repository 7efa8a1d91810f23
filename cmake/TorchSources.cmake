# flashconvert_torch_sources(TARGET): what a target needs whose sources read LibTorch's big headers, which cost 30 s of
# compilation a file. Most of that is the same for every file, so it is shared: one precompiled header for all targets
# (lib/common/precompiled.h), and with FLASHCONVERT_UNITY several sources to a compilation. The names of a target's
# sources, those in anonymous namespaces too, are therefore unique within it.
option(FLASHCONVERT_UNITY "Compile several of the sources that read LibTorch's headers at once" OFF)

function(flashconvert_torch_sources target)
  target_link_libraries(${target} PUBLIC LibTorch::torch)
  target_precompile_headers(${target} REUSE_FROM flashconvert_precompiled)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${FLASHCONVERT_UNITY} UNITY_BUILD_BATCH_SIZE 8)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    # The precompiled header is position-independent library code (-fPIC); a program would get -fPIE, which rejects it.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# flashconvert_quick_to_compile(TARGET): for code whose own speed does not show, because all work is done in LibTorch.
function(flashconvert_quick_to_compile target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()
