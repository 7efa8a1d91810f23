# What keeps a full build short (docs/decisions.md, "Several sources to a compilation").
option(FLASHCONVERT_UNITY "Compile several sources of a target at once" OFF)

# flashconvert_unity(TARGET): most of a source's compilation is spent on headers that its neighbours read too. The names
# of the target's sources are therefore unique within it, those in anonymous namespaces too.
function(flashconvert_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${FLASHCONVERT_UNITY} UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# flashconvert_torch_sources(TARGET): for sources that read LibTorch's big headers, which cost up to 30 s a compilation
# without the precompiled header that all such targets share (lib/common/precompiled.h).
function(flashconvert_torch_sources target)
  target_link_libraries(${target} PUBLIC LibTorch::cpu)
  target_precompile_headers(${target} REUSE_FROM flashconvert_precompiled)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    # The precompiled header is position-independent library code (-fPIC); a program would get -fPIE, which rejects it.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# flashconvert_quick_to_compile(TARGET): for code whose own speed does not show, because LibTorch does the work.
function(flashconvert_quick_to_compile target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()
