# What the scripts share: where things are, what is already there, and how to speak. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/build/venv
python=$venv/bin/python

say() { printf '\n== %s\n' "$*" >&2; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# How many jobs to run at once: CMAKE_BUILD_PARALLEL_LEVEL, or one a core where 2 GiB of memory are free for each.
jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  ((memory < 1)) && memory=1
  echo "${CMAKE_BUILD_PARALLEL_LEVEL:-$((cores < memory ? cores : memory))}"
}

# The folder of a LibTorch that the user named in CMAKE_PREFIX_PATH: a LibTorch folder or torch.utils.cmake_prefix_path.
user_libtorch() {
  local prefix prefixes
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in "${prefixes[@]}"; do
    if [[ -e $prefix/include/torch/script.h || -e $prefix/../../include/torch/script.h ]]; then
      echo "$prefix"
      return
    fi
  done
  return 1
}

# The LibTorch of the virtual environment's wheel.
wheel_libtorch() {
  local found
  for found in "$venv"/lib/python3*/site-packages/torch; do
    [[ -e $found/include/torch/script.h ]] && echo "$found" && return
  done
  return 1
}

# CMAKE_PREFIX_PATH as CMake wants it: the user's, and the wheel where that holds no LibTorch.
prefix_path() {
  local path=${CMAKE_PREFIX_PATH:-}
  path=${path//:/;}
  user_libtorch >/dev/null || path=${path:+$path;}$(wheel_libtorch)
  echo "$path"
}

# A CUDA toolkit in its usual place is found without being on PATH.
if [[ -z ${CUDACXX:-} ]] && ! have nvcc && [[ -x /usr/local/cuda/bin/nvcc ]]; then
  export CUDACXX=/usr/local/cuda/bin/nvcc
fi
