# flashconvert_kernels: a static library, hidden symbols, its own copy of the CUDA runtime. Every kernel is compiled to
# machine code for sm_80, which sm_86 and sm_89 run too, and for sm_90, and to PTX, from which the driver compiles for
# anything newer.
file(GLOB sm80_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/instances/*.cu)
add_library(flashconvert_kernels STATIC src/dispatch.cpp src/parameters.cpp ${sm80_sources})
set_source_files_properties(
  ${sm80_sources} PROPERTIES COMPILE_OPTIONS
                             "-gencode=arch=compute_80,code=[sm_80,sm_90,compute_80]")

target_link_libraries(
  flashconvert_kernels
  PUBLIC flashconvert_kernels_interface
  PRIVATE CUDA::cudart_static flashconvert_warnings)
set_target_properties(
  flashconvert_kernels
  PROPERTIES CXX_VISIBILITY_PRESET hidden
             CUDA_VISIBILITY_PRESET hidden
             VISIBILITY_INLINES_HIDDEN ON
             CUDA_RUNTIME_LIBRARY Static
             CUDA_SEPARABLE_COMPILATION OFF)
target_compile_options(flashconvert_kernels PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
if(FLASHCONVERT_WARNINGS_AS_ERRORS)
  target_compile_options(
    flashconvert_kernels
    PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xptxas=-Werror>)
endif()
