# flashconvert_kernels: a static library, hidden symbols, its own copy of the CUDA runtime.
#
# The general kernels are compiled to machine code for sm_80, which sm_86 and sm_89 run too, and for sm_90, and to PTX,
# from which the driver compiles for anything newer. From one intermediate form where that will do, which is quicker; the
# kernels that few queries take say more to Hopper (ptx/dependent_launch.cuh, ptx/cluster.cuh). Hopper's own use
# instructions that exist as sm_90a alone.
file(GLOB sm80_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/instances/*.cu)
file(GLOB sm90_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/sm90/instances/*.cu
     ${CMAKE_CURRENT_SOURCE_DIR}/src/sm90/linear/instances/*.cu)
set_source_files_properties(${sm80_sources}
                            PROPERTIES COMPILE_OPTIONS "-gencode=arch=compute_80,code=[sm_80,sm_90,compute_80]")
set(few_query_sources ${sm80_sources})
list(FILTER few_query_sources INCLUDE REGEX "_short|_few|d192|d256|combine_splits|tf32x3")
set_source_files_properties(
  ${few_query_sources}
  PROPERTIES COMPILE_OPTIONS
             "-gencode=arch=compute_80,code=sm_80;-gencode=arch=compute_90,code=[sm_90,compute_90]")

# 16-bit kernels that spill fail the build. Those for float32 still do (docs/kernels.md).
set(ptxas_spill_warnings -Xptxas=-warn-spills,-warn-lmem-usage)
set(sm80_16_bit_sources ${sm80_sources})
list(FILTER sm80_16_bit_sources EXCLUDE REGEX "tf32x3")
set_property(
  SOURCE ${sm80_16_bit_sources}
  APPEND
  PROPERTY COMPILE_OPTIONS ${ptxas_spill_warnings})

# What makes a Hopper kernel slow without making it wrong fails the build: spills and arrays in local memory, which ptxas
# warns of, and products that it serialises, which it only remarks on (fail-on-serialised).
add_library(flashconvert_kernels_sm90 OBJECT ${sm90_sources})
target_compile_options(
  flashconvert_kernels_sm90 PRIVATE -gencode=arch=compute_90a,code=sm_90a --expt-relaxed-constexpr
                                    ${ptxas_spill_warnings})
set_target_properties(
  flashconvert_kernels_sm90
  PROPERTIES CUDA_COMPILER_LAUNCHER
             "${CMAKE_CURRENT_SOURCE_DIR}/fail-on-serialised;${CMAKE_CUDA_COMPILER_LAUNCHER}")

add_library(
  flashconvert_kernels STATIC
  src/device_facts.cpp
  src/dispatch.cpp
  src/fp16x3/workspace.cpp
  src/linear/dispatch.cpp
  src/packed_heads.cpp
  src/parameters.cpp
  src/sm90/linear/plan.cpp
  src/sm90/operands.cpp
  src/sm90/split_selection.cpp
  src/sm90/tensor_map.cpp
  src/splits.cpp
  ${sm80_sources}
  $<TARGET_OBJECTS:flashconvert_kernels_sm90>)

foreach(target flashconvert_kernels flashconvert_kernels_sm90)
  target_link_libraries(
    ${target}
    PUBLIC flashconvert_kernels_interface
    PRIVATE CUDA::cudart_static $<BUILD_INTERFACE:flashconvert_warnings>)
  set_target_properties(
    ${target}
    PROPERTIES CXX_VISIBILITY_PRESET hidden
               CUDA_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               CUDA_RUNTIME_LIBRARY Static
               CUDA_SEPARABLE_COMPILATION OFF)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
  # A wheel's compression, which sees 32 KB at a time, makes less of machine code than nvcc's. The driver expands a file's
  # kernels when one of them first runs.
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--compress-mode=size>)
  endif()
  if(FLASHCONVERT_WARNINGS_AS_ERRORS)
    target_compile_options(
      ${target}
      PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xptxas=-Werror>)
  endif()
endforeach()
