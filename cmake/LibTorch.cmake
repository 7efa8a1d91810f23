# LibTorch without `find_package(Torch)`: that package enables the CUDA language, wants a toolkit even for a build
# that compiles no CUDA, and sets architecture flags for every CUDA file of the project. We need its headers and
# three libraries. Looked for under CMAKE_PREFIX_PATH (a LibTorch folder, or torch.utils.cmake_prefix_path).
#
# LibTorch::cpu     all but the CUDA backend, which the converter loads when it needs it (lib/common/cuda_backend.h)
# LibTorch::torch   all of LibTorch; loading it also loads the CUDA backend where the build has one
# LibTorch::stable  the stable C ABI (torch/csrc/stable), linked to libtorch_cpu alone
find_path(
  LIBTORCH_INCLUDE_DIR torch/script.h
  HINTS ${CMAKE_PREFIX_PATH}
  PATH_SUFFIXES include ../../include
  DOC "LibTorch's include folder")
find_library(LIBTORCH_LIBRARY torch HINTS ${LIBTORCH_INCLUDE_DIR}/../lib NO_CMAKE_FIND_ROOT_PATH)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu HINTS ${LIBTORCH_INCLUDE_DIR}/../lib)
find_library(LIBTORCH_C10_LIBRARY c10 HINTS ${LIBTORCH_INCLUDE_DIR}/../lib)
if(NOT LIBTORCH_INCLUDE_DIR OR NOT LIBTORCH_LIBRARY OR NOT LIBTORCH_CPU_LIBRARY OR NOT LIBTORCH_C10_LIBRARY)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/build, which sets it up, or give its folder: "
                      "cmake -DCMAKE_PREFIX_PATH=$(python3 -c 'import torch; print(torch.utils.cmake_prefix_path)')")
endif()
get_filename_component(LIBTORCH_LIBRARY_DIR ${LIBTORCH_LIBRARY} DIRECTORY)

file(STRINGS ${LIBTORCH_INCLUDE_DIR}/torch/headeronly/version.h version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" LIBTORCH_VERSION "${version_lines}")
string(REPLACE ";" "." LIBTORCH_VERSION "${LIBTORCH_VERSION}")
message(STATUS "flashconvert: LibTorch ${LIBTORCH_VERSION} in ${LIBTORCH_LIBRARY_DIR}")

# SYSTEM, because LibTorch's headers do not compile under our warnings.
add_library(LibTorch_headers INTERFACE)
target_include_directories(LibTorch_headers SYSTEM INTERFACE ${LIBTORCH_INCLUDE_DIR}
                                                             ${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include)
add_library(LibTorch_cpu INTERFACE)
target_link_libraries(LibTorch_cpu INTERFACE LibTorch_headers -Wl,--push-state,--no-as-needed ${LIBTORCH_CPU_LIBRARY}
                                             ${LIBTORCH_C10_LIBRARY} -Wl,--pop-state)
add_library(LibTorch::cpu ALIAS LibTorch_cpu)

add_library(LibTorch_torch INTERFACE)
# One argument: CMake would move the library away from between the flags where a program has such flags twice.
target_link_libraries(LibTorch_torch INTERFACE LibTorch_cpu
                                               -Wl,--push-state,--no-as-needed,${LIBTORCH_LIBRARY},--pop-state)
add_library(LibTorch::torch ALIAS LibTorch_torch)

add_library(LibTorch_stable INTERFACE)
target_link_libraries(LibTorch_stable INTERFACE LibTorch_headers -Wl,--push-state,--no-as-needed
                                                ${LIBTORCH_CPU_LIBRARY} -Wl,--pop-state)
add_library(LibTorch::stable ALIAS LibTorch_stable)
