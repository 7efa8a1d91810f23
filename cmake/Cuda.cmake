# Decides whether the CUDA kernels are built. They are compiled for sm_80 (every later card runs it through the
# general kernels) and for sm_90a, whose instructions (wgmma, setmaxnreg) exist under that exact name only.
if(FLASHCONVERT_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(FLASHCONVERT_CUDA ON)
  else()
    set(FLASHCONVERT_CUDA OFF)
    message(STATUS "flashconvert: no CUDA compiler, building the CPU operator only")
  endif()
endif()

if(FLASHCONVERT_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # each source file names its own
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
endif()
